"""The source's end of a stream: numbers, encodes and remembers what it says.

Rules: every message that changes what a follower knows takes the next number; a heartbeat
takes none. What was said last (`_ticks`) moves only together with a message that says so, so
no change can be passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgpack

from amzmq.errors import FrameTooLarge
from amzmq.wire.checksum import ClockSum
from amzmq.wire.codec import Value
from amzmq.wire.feed import UPDATE_BYTE, Heartbeat, PayloadFrame
from amzmq.wire.journal import Journal, JournalLimits

FRAME_MARGIN = 64
"""What a body may be shorter than a frame, for the message that carries it another way."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a follower needs to go on after message `number`.

    Attributes:
        number: The newest message that is in it.
        ticks: The clock, in index order.
        queue_tick, machine_tick: The two counters.
        payloads: How many payloads were sent up to `number`.
        checksum: Of the clock.
    """

    number: int
    ticks: tuple[int, ...]
    queue_tick: int
    machine_tick: int
    payloads: int
    checksum: int


class StreamWriter:
    """One stream of a source.

    Args:
        stream_id: 8 bytes; what followers subscribe to.
        names: State names in index order.
        limits: Of the journal.
        frame_limit: Bytes of the largest frame that may be sent.

    Attributes:
        encoded: How many messages were encoded, heartbeats included.
    """

    def __init__(
        self,
        stream_id: bytes,
        names: Sequence[str],
        limits: JournalLimits | None = None,
        frame_limit: int = 1 << 32,
    ) -> None:
        self.stream_id = stream_id
        self._body_limit = frame_limit - FRAME_MARGIN
        self.names = tuple(names)
        self.encoded = 0
        self.updates = 0
        self.payloads = 0
        self._ticks = [0] * len(self.names)
        self._queue_tick = 0
        self._machine_tick = 0
        self._sum = ClockSum(self.names)
        self._journal = Journal(limits)
        self._snapshot: Snapshot | None = None
        # Updates are the hot path: a packer of our own costs half of `encode`, and no Update
        # object is made for them.
        self._pack = msgpack.Packer().pack

    @property
    def head(self) -> int:
        """The number of the newest message."""
        return self._journal.head

    @property
    def journal(self) -> Journal:
        """What was said last."""
        return self._journal

    def begin(self, ticks: Iterable[tuple[int, int]], queue_tick: int, machine_tick: int) -> None:
        """Start from a clock that no message tells of: followers begin with a snapshot."""
        for index, tick in ticks:
            self._ticks[index] = tick
        self._queue_tick = queue_tick
        self._machine_tick = machine_tick
        self._sum.reset(self._ticks, queue_tick, machine_tick)
        self._snapshot = None

    def update(
        self, ticks: Iterable[tuple[int, int]], queue_tick: int, machine_tick: int
    ) -> bytes | None:
        """The frame that tells of the present ticks; None when nothing is new.

        Args:
            ticks: (index, tick) of the states that may have changed.
            queue_tick: The present queue tick.
            machine_tick: The present machine tick.
        """
        known = self._ticks
        changes: list[int] = []
        for index, tick in ticks:
            delta = tick - known[index]
            if delta:
                known[index] = tick
                changes.append(index)
                changes.append(delta)
        queue_ticks = queue_tick - self._queue_tick
        machine_ticks = machine_tick - self._machine_tick
        if not changes and not queue_ticks and not machine_ticks:
            return None
        self._queue_tick = queue_tick
        self._machine_tick = machine_tick
        checksum = self._sum.advance(changes, queue_ticks, machine_ticks)
        self.updates += 1
        fields = (self._journal.head + 1, queue_ticks, changes, checksum)
        if machine_ticks:
            fields = (*fields, machine_ticks)  # type: ignore[assignment]
        body: bytes = UPDATE_BYTE + self._pack(fields)
        self._journal.append(body)
        self._snapshot = None
        self.encoded += 1
        return self.stream_id + body

    def payload(self, name: str, data: Value, token: bytes, source_tx: str = "") -> bytes:
        """The frame of a payload for everybody.

        Raises:
            InvalidArgs: `data` has no form on the wire; nothing has been numbered then.
            FrameTooLarge: It is larger than a frame may be; likewise.
        """
        message = PayloadFrame(self.head + 1, self.payloads + 1, name, data, token, source_tx)
        body = message.body()
        if len(body) > self._body_limit:
            raise FrameTooLarge(
                f"payload {name!r} takes {len(body)} bytes, {self._body_limit} are allowed; send "
                "less at once, or raise max_frame_bytes of SocketOptions on both sides"
            )
        self.payloads += 1
        return self._say(body)

    def heartbeat(self) -> bytes:
        """The frame that tells where the stream is."""
        self.encoded += 1
        return self.stream_id + Heartbeat(self.head, self._sum.value).body()

    def snapshot(self) -> Snapshot:
        """All that was said so far in one; the same object until something is said."""
        if self._snapshot is None:
            self._snapshot = Snapshot(
                self.head,
                tuple(self._ticks),
                self._queue_tick,
                self._machine_tick,
                self.payloads,
                self._sum.value,
            )
        return self._snapshot

    def since(self, number: int) -> list[bytes] | None:
        """The bodies after message `number`; None when the journal does not reach back."""
        return self._journal.since(number)

    def _say(self, body: bytes) -> bytes:
        self._journal.append(body)
        self._snapshot = None
        self.encoded += 1
        return self.stream_id + body
