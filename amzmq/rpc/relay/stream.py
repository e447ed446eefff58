"""A stream that is written elsewhere and continued here: the same id, epoch and numbers.

So a follower may change between relays of one source, and resume from the number it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from amzmq.rpc.replica.follower import Follower
from amzmq.wire.feed import STREAM_ID_SIZE, UPDATE_BYTE, FeedKind, Heartbeat
from amzmq.wire.journal import Journal, JournalLimits
from amzmq.wire.view import Scope, View
from amzmq.wire.writer import Snapshot, StreamWriter

_UPDATE = UPDATE_BYTE[0]
_PAYLOAD = int(FeedKind.PAYLOAD)


class RelayStream(StreamWriter):
    """What a follower hears, published again as it came.

    Nothing is ever said here but heartbeats: `update`, `payload` and `change_schema` are the
    source's alone.

    Args:
        follower: Follows the stream.
        view: What of the machine it tells.
        limits: Of the journal.
        frame_limit: Bytes of the largest frame that may be sent.
        send: Publishes frames.

    Attributes:
        restarts: How often the journal began anew, behind a hole that no message filled.
    """

    is_continued = True

    def __init__(
        self,
        follower: Follower,
        view: View,
        limits: JournalLimits,
        frame_limit: int,
        send: Callable[[Sequence[bytes]], None],
    ) -> None:
        clock = follower.clock
        super().__init__(
            follower.stream_id, follower.epoch, clock.schema, view, limits, frame_limit
        )
        self.restarts = 0
        self._clock = clock
        self._send = send
        self._reader = follower.relay(self)
        self._journal.restart(self._reader.number)

    def begin(self, ticks: Iterable[tuple[int, int]], queue_tick: int, machine_tick: int) -> None:
        """It has begun already, where the follower is."""

    def end(self) -> None:
        """Publish nothing more; the follower lives on."""
        super().end()
        self._reader.release()
        self._send = _nobody

    # What the reader hands on.

    def forward(self, frames: Sequence[bytes]) -> None:
        """The next messages of the stream as they came, to be published and kept."""
        self._send(frames)
        bodies = [frame[STREAM_ID_SIZE:] for frame in frames]
        self._journal.extend(bodies)
        updates = sum([body[0] == _UPDATE for body in bodies])
        self.updates += updates
        self.payloads += len(bodies) - updates
        self._snapshot = None

    def passed(self, body: bytes) -> None:
        """The next message, to be published and kept."""
        if self._clock.schema is not self.scope.schema:
            self._change_names()
        kind = body[0]
        if kind == _UPDATE:
            self.updates += 1
        elif kind == _PAYLOAD:
            self.payloads += 1
        self._snapshot = None
        self._journal.append(body)
        self._send((self.stream_id + body,))

    def restarted(self, number: int) -> None:
        """What comes next does not continue what was passed on: the journal forgets that."""
        if self._clock.schema is not self.scope.schema:
            self._change_names()
        self._snapshot = None
        before = self._journal.head
        if number == before:
            return
        self.restarts += 1
        self._journal.restart(number)
        if number > before:
            # Or nobody would know of the hole before the next one.
            self._send((self.heartbeat(self._reader.is_stale),))

    def _change_names(self) -> None:
        """The clock has another schema already: it came with the message, or the snapshot."""
        self._former.append((self._journal.head, self.names))
        self.scope = Scope(self.view, self._clock.schema)
        self._schema_facts = None

    # What followers ask for.

    @property
    def head(self) -> int:
        """The number of the newest message."""
        return self._journal.head

    @property
    def journal(self) -> Journal:
        """What was heard last."""
        return self._journal

    def since(self, number: int) -> list[bytes] | None:
        """The bodies after message `number`; None when the journal does not reach back."""
        return self._journal.since(number)

    def heartbeat(self, is_stale: bool = False) -> bytes:
        """The frame that tells where the stream is, as far as it is known here."""
        self.encoded += 1
        beat = Heartbeat(self._reader.number, self._reader.checksum, is_stale)
        return self.stream_id + beat.body()

    def snapshot(self) -> Snapshot:
        """All that was heard so far in one; the same object until something is heard."""
        if self._snapshot is None:
            clock, reader = self._clock, self._reader
            self._snapshot = Snapshot(
                reader.number,
                tuple(clock.ticks),
                clock.queue_tick,
                clock.machine_tick,
                reader.payloads,
                reader.checksum,
            )
        return self._snapshot


def _nobody(frames: Sequence[bytes]) -> None:
    """Where a stream goes that has ended: its followers were told."""
