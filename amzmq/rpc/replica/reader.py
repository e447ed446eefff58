"""A relay's way in: hands messages on before it looks into them.

Rules:
- A message whose number is the next one is handed on as it came; that is seen from its first
  bytes, without decoding it. The first one of a burst goes at once. Those behind it go together
  when the burst is read, a turn of the loop at most: sockets are quicker at one thing at a time.
- It is applied behind that, with all others of the burst, as one diff (`level`).
- What was handed on unseen may turn out wrong. The followers find that out as this reader does,
  by the checksum; so it only has to be forgotten (`Tap.restarted`), and healed from upstream.
- Everything unusual is applied first, as by any reader, and handed on behind that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgpack

from amzmq.errors import FrameInvalid
from amzmq.wire.checksum import ClockSum
from amzmq.wire.codec import Value
from amzmq.wire.feed import STREAM_ID_SIZE, FeedKind, Heartbeat, parse_body
from amzmq.wire.reader import Need, Numbered, ReaderSink, StreamReader
from amzmq.wire.writer import Snapshot

_UPDATE = int(FeedKind.UPDATE)
_LAST_DIRECT = max(_UPDATE, int(FeedKind.PAYLOAD))
"""Updates and payloads need not be looked into before they are handed on."""

_KIND_AT = STREAM_ID_SIZE
_ARRAY_AT = _KIND_AT + 1
_NUMBER_AT = _ARRAY_AT + 1
_SHORT_ARRAY, _SHORT_ARRAY_END = 0x90, 0xA0
"""What the arrays of up to 15 fields begin with: their first field is at the next byte."""

_NEVER = b"\xc1" * 9
"""No number looks like this."""


class Tap(Protocol):
    """Who hands the messages on."""

    @property
    def publish(self) -> Callable[[bytes], None]:
        """Takes the next message as it came; it is to be kept as well, by `keep`."""

    def keep(self, bodies: Sequence[bytes]) -> None:
        """The next messages, which were published before."""

    def passed(self, body: bytes) -> None:
        """The next message, to be published and kept."""

    def restarted(self, number: int) -> None:
        """What comes next follows message `number`, whatever was passed before."""


class RelayReader(StreamReader):
    """Goes on where another reader of the stream is.

    Args:
        former: That reader; level with its source, and not to be used any more.
        sink: Gets the content.
        tap: Gets the messages.
        wake: Called when the first message is noted: `level` is to be called soon.
    """

    def __init__(
        self, former: StreamReader, sink: ReaderSink, tap: Tap, wake: Callable[[], None]
    ) -> None:
        super().__init__((), sink)
        self.number = former.number
        self.need = former.need
        self.counters = former.counters
        self._payloads = former._payloads
        self._known_head = former._known_head
        self._count = former._count
        self._sum = former._sum
        self._ahead = former._ahead
        self._tap = tap
        self._publish = tap.publish
        self._wake = wake
        self._noted: list[bytes] = []
        self._bodies: dict[int, bytes] = {}  # of the messages kept aside
        self._is_applying = False
        self._pack = msgpack.Packer().pack
        self._next = _NEVER
        self._expect_next()

    def forward(self, frame: bytes) -> bool:
        """Hand on a frame of the feed if it is the next one; False leaves it to `push`."""
        if not (
            frame.startswith(self._next, _NUMBER_AT)
            and frame[_KIND_AT] <= _LAST_DIRECT
            and _SHORT_ARRAY <= frame[_ARRAY_AT] < _SHORT_ARRAY_END
        ):
            return False
        noted = self._noted
        if not noted:
            self._publish(frame)
            self._wake()
        noted.append(frame)
        self.number = number = self.number + 1
        self._next = self._pack(number + 1)
        return True

    def release(self) -> None:
        """Nobody is there any more to hand anything on to: a reader like any other now."""
        self.level()
        self._publish = _nobody

    def push(self, data: bytes, start: int = 0) -> int:
        """A message from the feed, or one of a reply; returns its number.

        Raises:
            FrameInvalid: The bytes are no message of this stream; nothing was changed.
        """
        self.level()
        body = data[start:]
        message = parse_body(body)
        number = message.number
        if not isinstance(message, Heartbeat):
            self._bodies[number] = body
        try:
            self.take(message)
        finally:
            if number not in self._ahead:
                self._bodies.pop(number, None)
            self._expect_next()
        return number

    def behind(self, head: int) -> None:
        """The source is known to be at `head`, and what leads there did not come."""
        super().behind(head)
        self._expect_next()

    def _expect_next(self) -> None:
        """What the number of the next message looks like; nothing does while some are missing."""
        is_level = self.need is Need.NOTHING
        self._next = self._pack(self.number + 1) if is_level else _NEVER

    def _use(self, message: Numbered) -> bool:
        used = super()._use(message)
        if used and not self._is_applying:
            self._tap.passed(self._bodies.pop(message.number, b"") or message.body())
        return used

    def restore(
        self, snapshot: Snapshot, schema: Value = None, tracked: list[int] | None = None
    ) -> None:
        """A snapshot: the messages that it stands for are not handed on, only what follows it."""
        self.level()
        super().restore(snapshot, schema, tracked)
        self._expect_next()

    def _settle(self) -> None:
        self._tap.restarted(self.number)
        super()._settle()
        self._bodies = {at: body for at, body in self._bodies.items() if at in self._ahead}

    def start_over(self) -> None:
        """The source began a new epoch: what is noted belongs to the old one."""
        self.level()
        super().start_over()
        self._bodies.clear()
        self._expect_next()

    # What is noted.

    def level(self) -> None:
        """Apply what is noted; if some of it is wrong, forget that, and need a snapshot."""
        if not self._noted:
            return
        frames, self._noted = self._noted, []
        publish = self._publish
        for frame in frames[1:]:
            publish(frame)
        noted = [frame[STREAM_ID_SIZE:] for frame in frames]
        self._tap.keep(noted)
        self.number -= len(noted)
        self._is_applying = True
        try:
            run: list[bytes] = []
            for body in noted:
                if body[0] == _UPDATE:
                    run.append(body)
                    continue
                self._apply(run)
                run = []
                self._apply_one(body)
            self._apply(run)
        finally:
            self._is_applying = False
        if self.need is not Need.NOTHING:
            self._tap.restarted(self.number)
            self._expect_next()

    def _apply(self, run: Sequence[bytes]) -> None:
        """Updates that follow each other."""
        if self.need is not Need.NOTHING or len(run) < 2 or not self._apply_as_one(run):
            for body in run:
                self._apply_one(body)

    def _apply_one(self, body: bytes) -> None:
        try:
            super().push(body)
        except FrameInvalid:
            self.counters.mismatches += 1
            self.need = Need.SNAPSHOT

    def _apply_as_one(self, run: Sequence[bytes]) -> bool:
        """Whether they are right together; nothing was changed if not."""
        unpack = msgpack.unpackb
        deltas: dict[int, int] = {}
        queue_ticks = machine_ticks = 0
        fields: list[Any] = []
        try:
            for body in run:
                fields = unpack(body[1:])
                queue_ticks += fields[1]
                changes = fields[2]
                for at in range(0, len(changes), 2):
                    index = changes[at]
                    deltas[index] = deltas.get(index, 0) + changes[at + 1]
                if len(fields) > 4:
                    machine_ticks += fields[4]
                    if len(fields) > 5:
                        return False  # it tells of one mutation, which is not to be merged
            merged = [value for pair in deltas.items() for value in pair]
            total = self._sum.after(merged, queue_ticks, machine_ticks)
            if ClockSum.value_of(total) != fields[3]:
                return False
        except (ValueError, TypeError, IndexError, KeyError):
            return False
        self._sum.accept(total)
        self.number += len(run)
        self.counters.updates += len(run)
        self._sink.apply(merged, queue_ticks, machine_ticks)
        return True


def _nobody(frame: bytes) -> None:
    """Where frames go that nobody publishes."""
