"""Keeping a replica level with its stream: pushes in, one question when something is missing.

The reader (`wire.reader`) decides what is next, missing or wrong. The follower asks the source:
after a short random wait, because what looks missing is often only late, and because many
followers miss the same message at the same moment; one question at a time; again after a
doubling delay when no answer comes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from amzmq.errors import FrameInvalid
from amzmq.rpc.netmach import NetworkMachine
from amzmq.wire.control import CatchUp, SnapshotReply, Sync
from amzmq.wire.feed import STREAM_ID_SIZE, PayloadFrame
from amzmq.wire.reader import Need, StreamReader
from amzmq.wire.writer import Snapshot

_log = logging.getLogger("amzmq.client")

RESYNC_WAIT = 0.02
"""Seconds within which, at random, the source is asked for what is missing."""

EXPECT_WAIT = 0.1
"""Seconds that the feed may be behind a reply before its messages count as missing."""

RESYNC_RETRY = (0.5, 8.0)
"""Seconds until the question is repeated: at first, and at most."""


class Follower:
    """Follows one stream.

    Args:
        net: The replica.
        send: Sends a Sync; False when there is no connection.
        deliver: Gets the payloads, in order with the states.
        applied: Told of the number that is applied now, while somebody waits for it; whether
            somebody still does.

    Attributes:
        reader: What is known of the stream.
        epoch: Of the source that `reader.number` belongs to; b"" before the first snapshot.
        awaited: Whether something waits for the stream to reach a number: `applied` is told.
        resyncs: Questions asked because something was missing.
        garbage: Frames that could not be read.
    """

    def __init__(
        self,
        net: NetworkMachine,
        send: Callable[[Sync], bool],
        deliver: Callable[[PayloadFrame], None],
        applied: Callable[[int], bool],
    ) -> None:
        self.net = net
        self.reader = StreamReader(net.state_names, self)
        self.epoch = b""
        self.awaited = False
        self.resyncs = 0
        self.garbage = 0
        self._send = send
        self._deliver = deliver
        self._applied = applied
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random()
        self._request = 0
        self._open = 0
        self._timer: asyncio.TimerHandle | None = None
        self._live = False
        self._synced: asyncio.Future[None] | None = None

    @property
    def number(self) -> int:
        """The newest message applied; -1 before the first snapshot."""
        return self.reader.number

    # The sink of the reader.

    def apply(self, changes: list[int], queue_ticks: int, machine_ticks: int) -> None:
        """A diff, to the replica."""
        self.net.apply(changes, queue_ticks, machine_ticks)

    def restore(self, snapshot: Snapshot) -> None:
        """A whole clock, to the replica."""
        self.net.restore(snapshot)

    def deliver(self, payload: PayloadFrame) -> None:
        """A payload, to whoever takes them."""
        self._deliver(payload)

    # What arrives.

    def on_frame(self, frame: bytes) -> None:
        """A frame of the feed."""
        self._push(frame, STREAM_ID_SIZE)
        if self.awaited or self.reader.need is not Need.NOTHING:
            self._after()

    def on_bodies(self, bodies: list[bytes]) -> int:
        """Messages that came with a reply; returns the number that they lead up to."""
        head = 0
        for body in bodies:
            head = max(head, self._push(body))
        self._after()
        return head

    def on_catch_up(self, message: CatchUp) -> None:
        """The journal's answer."""
        before = self.reader.number
        for body in message.bodies:
            self._push(body)
        if message.request == self._open and before < self.reader.number < message.head:
            self._ask()  # there is more than one answer could hold
            self._after()
        else:
            self._answered(message.request)

    def on_snapshot(self, message: SnapshotReply) -> None:
        """The answer that replaces everything."""
        request, number, ticks, queue_tick, machine_tick, payloads, checksum = message
        snapshot = Snapshot(number, tuple(ticks), queue_tick, machine_tick, payloads, checksum)
        try:
            self.reader.restore(snapshot)
        except FrameInvalid as error:
            self._count_garbage(error)
        self._answered(request)

    def _push(self, data: bytes, start: int = 0) -> int:
        try:
            return self.reader.push(data, start)
        except FrameInvalid as error:
            self._count_garbage(error)
            return 0

    def _count_garbage(self, error: FrameInvalid) -> None:
        self.garbage += 1
        if self.garbage == 1:
            _log.warning("[%s] %s (further ones are only counted)", self.net.id, error)

    # Asking.

    async def begin(self, epoch: bytes, timeout: float) -> None:
        """Subscribed: get level with the source, and stay so until `pause`.

        Args:
            epoch: Of the source now.
            timeout: Seconds to wait for the answer.

        Raises:
            TimeoutError: It did not come.
        """
        resuming = epoch == self.epoch and self.reader.need is not Need.SNAPSHOT
        if not resuming:
            self.reader.start_over()
        before = self.reader.number
        known_gap = self.reader.need is Need.MISSING
        self.epoch = epoch
        self._synced = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                self._ask()
                await self._synced
        finally:
            self._synced = None
        if resuming and self.reader.number > before:
            self.reader.counters.gaps += not known_gap
            self.resyncs += 1
        self._live = True
        self._after()

    def pause(self) -> None:
        """The connection is gone: nobody can be asked."""
        self._live = False
        self._stop_timer()
        self._open = 0

    async def sync(self, timeout: float) -> None:
        """Ask for everything up to now, and wait until it is applied.

        Raises:
            TimeoutError: The answer did not come in time.
        """
        if self._synced is None:
            self._synced = self._loop.create_future()
        synced = self._synced
        self._ask()
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(synced)
        finally:
            if self._synced is synced:
                self._synced = None

    def _after(self) -> None:
        """Something was taken in: tell how far it goes, and ask if something is missing."""
        if self.awaited:
            self.awaited = self._applied(self.reader.number)
        if self._live and self.reader.need is not Need.NOTHING and self._timer is None:
            wait = self._rng.uniform(0, RESYNC_WAIT)
            self._timer = self._loop.call_later(wait, self._resync, RESYNC_RETRY[0])

    def expect(self, head: int) -> None:
        """The stream will reach `head` at any moment; if it does not, ask for the rest."""
        if self._timer is None:
            self._timer = self._loop.call_later(EXPECT_WAIT, self._expected, head)

    def _expected(self, head: int) -> None:
        self._timer = None
        self.reader.behind(head)
        self._after()

    def _resync(self, retry: float) -> None:
        """Still missing after the wait: ask, and be ready to ask again."""
        self._timer = None
        if not self._live or self.reader.need is Need.NOTHING:
            return
        self.resyncs += 1
        self._ask()
        following = min(2 * retry, RESYNC_RETRY[1])
        self._timer = self._loop.call_later(retry, self._resync, following)

    def _ask(self) -> None:
        self._request += 1
        self._open = self._request
        epoch = b"" if self.reader.need is Need.SNAPSHOT else self.epoch
        self._send(Sync(self._request, epoch, max(self.reader.number, 0)))

    def _answered(self, request: int) -> None:
        if request == self._open:
            self._open = 0
            self._stop_timer()
            if self._synced is not None and not self._synced.done():
                self._synced.set_result(None)
        self._after()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
