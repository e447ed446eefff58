"""A relay's way in: hands messages on before it looks into them.

Rules:
- Messages whose numbers are the next ones are handed on as they came; that is seen from their
  first bytes, without decoding them. All that had arrived together go together: sockets are
  quicker at one thing at a time.
- They are applied behind that, all together, as one diff.
- What was handed on unseen may turn out wrong. The followers find that out as this reader does,
  by the checksum; so it only has to be forgotten (`Tap.restarted`), and healed from upstream.
- Everything unusual is applied first, as by any reader, and handed on behind that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat, takewhile
from typing import Protocol

from amzmq.errors import FrameInvalid
from amzmq.wire.codec import plain_packer
from amzmq.wire.feed import STREAM_ID_SIZE, FeedKind, Heartbeat, parse_body
from amzmq.wire.reader import Need, Numbered, ReaderSink, StreamReader
from amzmq.wire.runs import usual_updates

_UPDATE = int(FeedKind.UPDATE)
_LAST_DIRECT = max(_UPDATE, int(FeedKind.PAYLOAD))
"""Updates and payloads need not be looked into before they are handed on."""

_KIND_AT = STREAM_ID_SIZE
_NUMBER_AT = _KIND_AT + 2
_NUMBERS = 1 << 64
"""Numbers that msgpack can write; no honest source comes near to the last one."""

_DIRECT = frozenset(
    bytes((kind, array)) for kind in range(_LAST_DIRECT + 1) for array in range(0x90, 0xA0)
)
"""How these begin, with the arrays of up to 15 fields: the first field is at the next byte."""


class Tap(Protocol):
    """Who hands the messages on."""

    def forward(self, frames: Sequence[bytes]) -> None:
        """The next messages as they came, to be published and kept."""

    def passed(self, body: bytes) -> None:
        """The next message, to be published and kept."""

    def restarted(self, number: int) -> None:
        """What comes next follows message `number`, whatever was passed before."""


class RelayReader(StreamReader):
    """Goes on where another reader of the stream is.

    Args:
        former: That reader; level with its source, and not to be used any more.
        sink: Gets the content.
        tap: Gets the messages; None once nobody is there any more to hand anything on to.
    """

    def __init__(self, former: StreamReader, sink: ReaderSink, tap: Tap) -> None:
        super().__init__((), sink)
        self.number = former.number
        self.need = former.need
        self.counters = former.counters
        self.is_stale = former.is_stale
        self._payloads = former._payloads
        self._known_head = former._known_head
        self._count = former._count
        self._sum = former._sum
        self._ahead = former._ahead
        self._tap: Tap | None = tap
        self._bodies: dict[int, bytes] = {}  # of the messages kept aside
        self._is_applying = False
        self._pack = plain_packer()

    def release(self) -> None:
        """Nobody is there any more to hand anything on to: a reader like any other now."""
        self._tap = None
        self._bodies.clear()

    def push_run(self, frames: Sequence[bytes], start: int) -> int:
        """Hand on the frames that come next, and apply them; returns how many."""
        if self._tap is None:
            return super().push_run(frames, start)
        count = self._count_next(frames)
        if count:
            run = frames if count == len(frames) else frames[:count]
            self._tap.forward(run)
            self._apply_run(run)
        return count

    def _count_next(self, frames: Sequence[bytes]) -> int:
        """How many frames at the front have the next numbers, and need not be looked into."""
        if self.need is not Need.NOTHING:
            return 0
        first = self.number + 1
        if first + len(frames) > _NUMBERS:
            return 0
        numbers = map(self._pack, range(first, first + len(frames)))
        fits = list(map(bytes.startswith, frames, numbers, repeat(_NUMBER_AT)))
        count = len(frames) if all(fits) else fits.index(False)
        if {frame[_KIND_AT:_NUMBER_AT] for frame in frames} <= _DIRECT:
            return count
        direct = (frame[_KIND_AT:_NUMBER_AT] in _DIRECT for frame in frames[:count])
        return sum(takewhile(bool, direct))

    def push(self, data: bytes, start: int = 0) -> int:
        """A message from the feed, or one of a reply; returns its number.

        Raises:
            FrameInvalid: The bytes are no message of this stream; nothing was changed.
        """
        if self._tap is None:
            return super().push(data, start)
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
        return number

    def _use(self, message: Numbered) -> bool:
        used = super()._use(message)
        if used and self._tap is not None and not self._is_applying:
            self._tap.passed(self._bodies.pop(message.number, b"") or message.body())
        return used

    def _settle(self) -> None:
        if self._tap is not None:  # the messages that the snapshot stands for are not handed on
            self._tap.restarted(self.number)
        super()._settle()
        self._bodies = {at: body for at, body in self._bodies.items() if at in self._ahead}

    def start_over(self) -> None:
        """The source began a new epoch: what is noted belongs to the old one."""
        super().start_over()
        self._bodies.clear()

    # What was handed on already.

    def _apply_run(self, frames: Sequence[bytes]) -> None:
        """Apply what was handed on; if some of it is wrong, forget that, and need a snapshot."""
        self._is_applying = True
        try:
            at = 0
            while at < len(frames) and self.need is Need.NOTHING:
                at += self._apply_as_one(frames[at:]) or self._apply_one(frames[at])
        finally:
            self._is_applying = False
        if self.need is not Need.NOTHING and self._tap is not None:
            self._tap.restarted(self.number)

    def _apply_one(self, frame: bytes) -> int:
        try:
            super().push(frame, STREAM_ID_SIZE)
        except FrameInvalid:
            self.counters.mismatches += 1
            self.need = Need.SNAPSHOT
        return 1

    def _apply_as_one(self, frames: Sequence[bytes]) -> int:
        """How many were applied together; nothing was changed if none."""
        return self._use_together(usual_updates(frames, STREAM_ID_SIZE)) if len(frames) > 1 else 0
