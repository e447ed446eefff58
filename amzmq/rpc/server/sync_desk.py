"""Answers to those who missed something: from the journal, else a snapshot (design decision 7).

A thousand followers that lost the same message ask within a moment. The answer is encoded once,
and snapshots, which are large, leave at a bounded rate: the excess waits, and is not refused.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from amzmq.rpc.pacing import TokenBucket
from amzmq.rpc.server.answers import Answers
from amzmq.rpc.server.counters import MuxCounters
from amzmq.rpc.server.limits import Guard, Limits
from amzmq.wire.control import CatchUp, SnapshotReply, Sync
from amzmq.wire.writer import FRAME_MARGIN, StreamWriter

SNAPSHOT_RATE = 2000.0
"""Snapshots a second. A client asks again, or even reconnects, after 3 s (its call_timeout): so
6,000 that need one at once are served in time."""

SNAPSHOT_BURST = 256.0
"""Snapshots at once, after a quiet time."""


class Asker(Protocol):
    """A client, as far as its questions go."""

    def send_frame(self, frame: bytes) -> None:
        """Send it an encoded message."""


class SyncDesk:
    """Answers the questions of all clients of a Mux.

    Args:
        counters: Where it counts.
        rate: Snapshots a second.
        burst: Snapshots at once.
        frame_limit: Bytes of the largest frame that may be sent.
        guard: Counts the questions for what a journal has no more.
    """

    def __init__(
        self,
        counters: MuxCounters,
        rate: float = SNAPSHOT_RATE,
        burst: float = SNAPSHOT_BURST,
        frame_limit: int = 1 << 32,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or Guard(Limits())
        self.frame_limit = frame_limit
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._bucket = TokenBucket(rate, burst, self._loop.time)
        self._snapshots = Answers()
        self._catch_ups = Answers()
        # The last question of each client about each stream that has to wait for its answer.
        self._waiting: dict[tuple[Asker, StreamWriter], Sync] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many questions wait for their answers."""
        return len(self._waiting)

    def answer(self, asker: Asker, stream: StreamWriter, message: Sync) -> None:
        """Answer now, or as soon as that is possible; a question repeated replaces the first."""
        if self._catch_up(asker, stream, message):
            self._waiting.pop((asker, stream), None)
        elif self._timer is None and self._bucket.take():
            self._send_snapshot(asker, stream, message)
        else:
            self._counters.snapshots_delayed += (asker, stream) not in self._waiting
            self._waiting[asker, stream] = message
            self._wait()

    def forget(self, asker: Asker) -> None:
        """A client went."""
        for key in [key for key in self._waiting if key[0] is asker]:
            del self._waiting[key]

    def beat(self) -> None:
        """Forget answers that nobody has asked for since the last heartbeat."""
        self._catch_ups.forget_unwanted()
        self._snapshots.forget_unwanted()

    def close(self) -> None:
        """Nobody is answered any more."""
        self._waiting.clear()
        self._catch_ups.clear()
        self._snapshots.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Later.

    def _wait(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._loop.call_later(self._bucket.wait, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        while self._waiting and self._bucket.take():
            asker, stream = next(iter(self._waiting))
            message = self._waiting.pop((asker, stream))
            self._send_snapshot(asker, stream, message)
        self._wait()

    # The two answers.

    def _catch_up(self, asker: Asker, stream: StreamWriter, message: Sync) -> bool:
        """Answer from the journal; whether it reaches back so far."""
        number, head = message.number, stream.head
        bodies = stream.since(number) if message.epoch == stream.epoch else None
        if bodies is None:
            return False

        def make() -> CatchUp:
            part = fitting(bodies, self.frame_limit)
            return CatchUp(0, part, 0 if len(part) == len(bodies) else head)

        asker.send_frame(
            self._catch_ups.frame(stream, number, (head, len(bodies)), message.request, make)
        )
        self._counters.catch_ups_sent += 1
        self._counters.catch_ups_encoded = self._catch_ups.encoded
        return True

    def _send_snapshot(self, asker: Asker, stream: StreamWriter, message: Sync) -> None:
        now = stream.snapshot()
        is_known = message.schema_hash in (b"", stream.schema_hash)
        schema = None if is_known else stream.schema

        def make() -> SnapshotReply:
            return SnapshotReply(
                0, now.number, list(now.ticks), now.queue_tick, now.machine_tick, now.payloads,
                now.checksum, schema, None if is_known else stream.scope.tracked,
            )  # fmt: skip

        asker.send_frame(
            self._snapshots.frame(stream, is_known, (now, schema), message.request, make)
        )
        self._counters.snapshots_sent += 1
        if message.epoch == stream.epoch:  # else it did not ask the journal
            self._guard.count("journal")
        self._counters.snapshots_encoded = self._snapshots.encoded


def fitting(bodies: list[bytes], frame_limit: int) -> list[bytes]:
    """As many of the first messages as fit into one frame, at least one."""
    room = frame_limit - FRAME_MARGIN
    for at, body in enumerate(bodies):
        room -= len(body) + _BODY_HEADER
        if room < 0 and at:
            return bodies[:at]
    return bodies


_BODY_HEADER = 5
"""Bytes that msgpack puts before a body, at most."""
