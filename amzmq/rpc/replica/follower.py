"""Keeping a clock level with its stream: pushes in, one question when something is missing.

Clients of one process that follow the same stream share a follower: one SUB socket, one decode
and one clock, however many they are. Each of them has a conversation of its own, and any of
them can be asked to put the question.

The reader (`wire.reader`) decides what is next, missing or wrong. The follower asks the source:
after a short random wait, because what looks missing is often only late, and because many
followers miss the same message at the same moment; one question at a time; again after a
doubling delay when no answer comes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol
from weakref import WeakKeyDictionary

from amzmq.errors import FrameInvalid, SchemaMismatch
from amzmq.machine.compiled import CompiledSchema
from amzmq.net import Subscriber, ZmqTransport
from amzmq.net.transport import FramesFn
from amzmq.rpc.pacing import Jitter
from amzmq.rpc.replica.clock import ReplicaClock
from amzmq.rpc.replica.reader import RelayReader, Tap
from amzmq.wire.codec import Value
from amzmq.wire.control import CatchUp, SnapshotReply, Sync
from amzmq.wire.feed import HEARTBEAT_BYTE, STREAM_ID_SIZE, PayloadFrame
from amzmq.wire.reader import ClockNow, Need, StreamReader
from amzmq.wire.schema import schema_hash
from amzmq.wire.writer import Snapshot

_log = logging.getLogger("amzmq.client")

RESYNC_WAIT = 0.02
"""Seconds within which, at random, the source is asked for what is missing."""

RESYNC_WAIT_LIMIT = 1.28
"""Seconds that this window doubles up to, while something is missing again and again."""

RESYNC_CALM = 5.0
"""Seconds without a question after which the window is as small as at first."""

EXPECT_WAIT = 0.1
"""Seconds that the feed may be behind a reply before its messages count as missing."""

RESYNC_RETRY = (0.5, 8.0)
"""Seconds until the question is repeated: at first, and at most."""

SUBSCRIBE_RETRY = 0.5
"""Seconds until a subscription that stays silent is asked for again."""


class FeedConnector(Protocol):
    """What carries the frames of the feed: a `Transport`, or a part of one."""

    def subscriber(self, endpoint: str, on_frames: FramesFn) -> Subscriber:
        """Connects a subscriber."""

    async def close(self) -> None:
        """Closes what is still open."""


class Awaiting(Protocol):
    """Whoever wants to know how far the stream is."""

    def applied(self, number: int) -> bool:
        """The stream is applied up to `number`; whether something still waits for more."""


class Member(Awaiting, Protocol):
    """A client, as far as the stream that it follows goes."""

    def ask(self, message: Sync) -> bool:
        """Send a question to the source; False when there is no connection."""

    def deliver(self, frame: PayloadFrame) -> None:
        """A payload for everybody, in order with the states."""

    def beat(self) -> None:
        """The stream's heartbeat arrived."""

    def aged(self) -> None:
        """Whoever publishes the stream has lost its own source, or found it again."""

    def misfit(self, error: SchemaMismatch) -> None:
        """The source's schema is no longer one that replicas here can read."""


class Follower:
    """Follows one stream.

    Args:
        stream_id: What to subscribe.
        epoch: Of the source; numbers mean something within it.
        schema: What is known of the machine's schema.
        tracked: Indexes of the states in the view; None for all.
        transport: What carries the frames; a ZeroMQ one of its own, if None.

    Attributes:
        clock: What the stream has told.
        reader: What is known of the stream.
        last_frame_at: Loop time of the last frame of the feed; 0 before the first.
        is_stale: Whether whoever publishes the stream has lost its own source.
        resyncs: Questions asked because something was missing.
        garbage: Frames that could not be read.
    """

    def __init__(
        self,
        stream_id: bytes,
        epoch: bytes,
        schema: CompiledSchema,
        tracked: list[int] | None,
        transport: FeedConnector | None = None,
    ) -> None:
        self.stream_id = stream_id
        self.epoch = epoch
        self.clock = ReplicaClock(schema, tracked)
        self.reader: StreamReader = StreamReader(schema.names, self)
        self.last_frame_at = 0.0
        self.is_stale = False
        self.resyncs = 0
        self.garbage = 0
        # The reader's way to the clock is the hottest of all: no step in between.
        self.apply = self.clock.apply
        self.restore = self.clock.restore
        self._owns_transport = transport is None
        self._transport: FeedConnector = transport or ZmqTransport()
        self._subscriber: Subscriber | None = None
        self._feed = ""
        self._members: dict[Member, str] = {}
        self._live: dict[Member, None] = {}
        self._awaiting: dict[Awaiting, None] = {}
        self._loop = asyncio.get_running_loop()
        rng = random.Random()  # nosec B311  # only spreads waits
        self._jitter = Jitter(RESYNC_WAIT, RESYNC_WAIT_LIMIT, RESYNC_CALM, rng)
        self._request = 0
        self._open = 0
        self._syncs: dict[int, asyncio.Future[None]] = {}
        self._arrivals: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._head = 0  # the greatest number that the source is known to have reached

    @property
    def number(self) -> int:
        """The newest message applied; -1 before the first snapshot."""
        return self.reader.number

    @property
    def feed(self) -> str:
        """The endpoint that the stream comes from at present; "" for none."""
        return self._feed

    # Members.

    @property
    def members(self) -> tuple[Member, ...]:
        """The clients that follow here."""
        return tuple(self._members)

    def join(self, member: Member, feed: str) -> None:
        """A client was told that the stream is to be had at `feed`."""
        self._members[member] = feed
        if feed != self._feed and (self._subscriber is None or not self._live):
            self._connect(feed)

    def leave(self, member: Member) -> None:
        """A client follows this stream no longer."""
        self.pause(member)
        self._members.pop(member, None)
        self._awaiting.pop(member, None)
        if not self._members:
            self._disconnect()
            _forget(self)

    def pause(self, member: Member) -> None:
        """A client's conversation is gone: it cannot ask. Without any, nobody listens."""
        self._live.pop(member, None)
        if not self._live:
            self._disconnect()
            self._stop_timer()
            self._open = 0
        elif self._members.get(member) == self._feed:
            feeds = [self._members[other] for other in self._live if other in self._members]
            if self._feed not in feeds:
                self._connect(feeds[0])

    def await_number(self, awaiting: Awaiting) -> None:
        """Tell this one whenever the stream has moved, until it says that it is enough."""
        self._awaiting[awaiting] = None

    async def close(self) -> None:
        """Release the sockets, once nobody follows here any more."""
        if not self._members and self._owns_transport:
            await self._transport.close()

    def relay(self, tap: Tap) -> RelayReader:
        """From now on, hand every message on as it came, before it is applied here."""
        reader = RelayReader(self.reader, self, tap)
        self.reader = reader
        return reader

    def counts(self) -> dict[str, int]:
        """All counters by name."""
        counts: dict[str, int] = asdict(self.reader.counters)
        counts["resyncs"] = self.resyncs
        counts["garbage"] = self.garbage
        return counts

    # The feed's socket.

    def _connect(self, feed: str) -> None:
        self._disconnect()
        self._feed = feed
        self._subscriber = self._transport.subscriber(feed, self.on_frames)
        self._subscriber.subscribe(self.stream_id)

    def _disconnect(self) -> None:
        if self._subscriber is not None:
            self._subscriber.close()
        self._subscriber = None
        self._feed = ""

    async def arrived(self, member: Member, fresh: float) -> None:
        """Wait until the feed is seen to arrive, asking again while it stays silent.

        Args:
            member: Who waits.
            fresh: A frame as young as this, in seconds, is enough.
        """
        if self._subscriber is not None and self._live:
            if self._loop.time() - self.last_frame_at < fresh:
                return
            self._subscriber.subscribe(self.stream_id)
        arrival: asyncio.Future[None] = self._loop.create_future()
        self._arrivals.append(arrival)
        try:
            while not arrival.done():
                await asyncio.wait([arrival], timeout=SUBSCRIBE_RETRY)
                if arrival.done():
                    return
                if self._subscriber is None:  # others who followed have left meanwhile
                    self._connect(self._members[member])
                else:
                    self._subscriber.subscribe(self.stream_id)
        finally:
            if arrival in self._arrivals:
                self._arrivals.remove(arrival)

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Frames of the feed that had arrived together."""
        self.last_frame_at = self._loop.time()
        if self._arrivals:
            arrivals, self._arrivals = self._arrivals, []
            for arrival in arrivals:
                if not arrival.done():
                    arrival.set_result(None)
        taken = self.reader.push_run(frames, STREAM_ID_SIZE)
        for frame in frames[taken:] if taken else frames:
            self._push(frame, STREAM_ID_SIZE)
            if frame[STREAM_ID_SIZE : STREAM_ID_SIZE + 1] == HEARTBEAT_BYTE:
                self._beat()
        if self._awaiting or self.reader.need is not Need.NOTHING:
            self._after()

    def _beat(self) -> None:
        for member in tuple(self._live):
            member.beat()
        if self.reader.is_stale is not self.is_stale:
            self.is_stale = self.reader.is_stale
            for member in tuple(self._members):
                member.aged()

    # The sink of the reader; `apply` and `restore` are the clock's.

    @property
    def is_watched(self) -> bool:
        """Whether somebody is told of each update."""
        return self.clock.is_watched

    def adopt(self, schema: Value, tracked: list[int] | None) -> ClockNow:
        """Another schema, for all replicas."""
        return self.clock.adopt(schema, tracked)

    def deliver(self, payload: PayloadFrame) -> None:
        """A payload, to all clients."""
        for member in tuple(self._members):
            member.deliver(payload)

    # What arrives by the conversations.

    def on_bodies(self, bodies: Sequence[bytes]) -> int:
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
        if message.head and before < self.reader.number < message.head:
            self._more(message.request)  # there is more than one answer could hold
            self._after()
        else:
            self._answered(message.request)

    def on_snapshot(self, message: SnapshotReply) -> None:
        """The answer that replaces everything."""
        snapshot = Snapshot(
            message.number, tuple(message.ticks), message.queue_tick, message.machine_tick,
            message.payloads, message.checksum,
        )  # fmt: skip
        try:
            self.reader.restore(snapshot, message.schema, message.tracked)
        except FrameInvalid as error:
            self._count_garbage(error)
        except SchemaMismatch as error:
            self._misfit(error)
        self._answered(message.request)

    def _push(self, data: bytes, start: int = 0) -> int:
        try:
            return self.reader.push(data, start)
        except FrameInvalid as error:
            self._count_garbage(error)
        except SchemaMismatch as error:
            self._misfit(error)
        return 0

    def _misfit(self, error: SchemaMismatch) -> None:
        for member in tuple(self._members):
            member.misfit(error)

    def _count_garbage(self, error: FrameInvalid) -> None:
        self.garbage += 1
        if self.garbage == 1:
            _log.warning("stream %s: %s (further ones are only counted)", self._feed, error)

    # Asking.

    async def begin(self, member: Member, epoch: bytes, timeout: float) -> None:
        """Subscribed: get level with the source, and stay so until `pause`.

        Args:
            member: Who asks.
            epoch: Of the source now.
            timeout: Seconds to wait for the answer.

        Raises:
            TimeoutError: It did not come.
        """
        resuming = epoch == self.epoch and self.reader.need is not Need.SNAPSHOT
        if epoch != self.epoch:
            self.reader.start_over()
            self.epoch = epoch
            self._head = 0
        before = self.reader.number
        known_gap = self.reader.need is Need.MISSING
        was_live = bool(self._live)
        await self._sync(member, timeout)
        if resuming and not was_live and self.reader.number > before:
            self.reader.counters.gaps += not known_gap
            self.resyncs += 1
        if member in self._members:
            self._live[member] = None
        self._after()

    async def sync(self, member: Member, timeout: float) -> None:
        """Ask for everything up to now, and wait until it is applied.

        Raises:
            TimeoutError: The answer did not come in time.
        """
        await self._sync(member, timeout)

    async def _sync(self, member: Member, timeout: float) -> None:
        self._request += 1
        request = self._request
        synced: asyncio.Future[None] = self._loop.create_future()
        self._syncs[request] = synced
        try:
            async with asyncio.timeout(timeout):
                self._ask(member, request)
                await synced
        finally:
            self._syncs.pop(request, None)

    def _after(self) -> None:
        """Something was taken in: tell how far it goes, and ask if something is missing."""
        if self._awaiting:
            number = self.reader.number
            for awaiting in tuple(self._awaiting):
                if not awaiting.applied(number):
                    self._awaiting.pop(awaiting, None)
        if self._live and self.reader.need is not Need.NOTHING and self._timer is None:
            wait = self._jitter.next(self._loop.time())
            self._timer = self._loop.call_later(wait, self._resync, RESYNC_RETRY[0])

    def expect(self, head: int) -> None:
        """The stream will reach `head` at any moment; if it does not, ask for the rest."""
        self._head = max(self._head, head)
        if self._timer is None:
            self._timer = self._loop.call_later(EXPECT_WAIT, self._expected)

    def _expected(self) -> None:
        self._timer = None
        self.reader.behind(self._head)
        self._after()

    def _resync(self, retry: float) -> None:
        """Still missing after the wait: ask, and be ready to ask again."""
        self._timer = None
        if not self._live or self.reader.need is Need.NOTHING:
            return
        self.resyncs += 1
        self._request += 1
        self._open = self._request
        # Another client each time: the one that was asked first may be half dead.
        member = list(self._live)[self.resyncs % len(self._live)]
        self._ask(member, self._open)
        following = min(2 * retry, RESYNC_RETRY[1])
        self._timer = self._loop.call_later(retry, self._resync, following)

    def _ask(self, member: Member, request: int) -> None:
        epoch = b"" if self.reader.need is Need.SNAPSHOT else self.epoch
        number = max(self.reader.number, 0)
        member.ask(Sync(request, epoch, number, schema_hash(self.clock.schema)))

    def _more(self, request: int) -> None:
        """Ask for what follows, in the name of the same question."""
        for member in self._members:
            epoch = b"" if self.reader.need is Need.SNAPSHOT else self.epoch
            hash_ = schema_hash(self.clock.schema)
            if member.ask(Sync(request, epoch, max(self.reader.number, 0), hash_)):
                return

    def _answered(self, request: int) -> None:
        if request == self._open:
            self._open = 0
            self._stop_timer()
        synced = self._syncs.get(request)
        if synced is not None and not synced.done():
            synced.set_result(None)
        self._after()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# The followers of each event loop, by what they follow. A loop that is gone takes its own along.
_followers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[int, bytes], Follower]] = (
    WeakKeyDictionary()
)


def follower_of(
    stream_id: bytes,
    epoch: bytes,
    schema: CompiledSchema,
    tracked: list[int] | None,
    transport: FeedConnector | None,
) -> Follower:
    """The follower of a stream on this event loop; made if there is none yet.

    The arguments are those of `Follower`. Streams are told apart by their ids, which nobody can
    guess; followers with a transport of their own are not shared with others.
    """
    loop = asyncio.get_running_loop()
    known = _followers.setdefault(loop, {})
    key = (0 if transport is None else id(transport), stream_id)
    follower = known.get(key)
    if follower is None:
        follower = known[key] = Follower(stream_id, epoch, schema, tracked, transport)
    return follower


def _forget(follower: Follower) -> None:
    loop = asyncio.get_running_loop()
    known = _followers.get(loop, {})
    for key in [key for key, value in known.items() if value is follower]:
        del known[key]
    if not known:
        _followers.pop(loop, None)
