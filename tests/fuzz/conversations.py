"""Both ends of real conversations on the memory network, while somebody talks nonsense to them.

An input is a list of steps, ``[who, what, blob...]``. What is bytes goes as it is; a list is
packed first, as the fields of a message. Beside whoever is lied to there is an honest client: it
has to be level with its source after each input.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Protocol

from amzmq import Subscriber
from amzmq.errors import AmzmqError
from amzmq.net.memory_conversation import MemoryDealer
from amzmq.rpc import Client, Mux
from amzmq.rpc.replica.follower import Follower
from amzmq.rpc.server.feed import STREAM_LIMIT
from amzmq.rpc.server.followed_streams import FOLLOWED_LIMIT
from amzmq.rpc.server.outbox import OUTBOX_LIMIT
from amzmq.rpc.server.server import REPLIES_KEPT
from amzmq.rpc.server.sessions import DEPARTED_KEPT
from amzmq.rpc.server.watches import WATCH_LIMIT
from amzmq.wire.checksum import CHECKSUM_MASK
from amzmq.wire.codec import decode, encode
from amzmq.wire.control import Hello
from amzmq.wire.control_frames import to_frame
from amzmq.wire.feed import UPDATE_BYTE
from amzmq.wire.journal import JournalLimits
from amzmq.wire.reader import AHEAD_LIMIT
from bench.virtual import VirtualLoop, determined
from tests.fuzz.decoders import BODIES, MESSAGES
from tests.fuzz.target import Finding, Play, Target, Traces
from tests.rpc.rig import ADDR, FEED, QUICK, World, level, turns

INPUTS_A_WORLD = 200
"""Inputs that follow each other in one world; what they do together is an input as well."""

STEPS = 40
JOURNAL = JournalLimits(64, 64 * 1024)


class _Stage(Protocol):
    """A world with somebody in it who is lied to."""

    async def begin(self) -> None: ...
    async def play(self, steps: list[list[Any]]) -> None: ...
    def check(self) -> None: ...


class _Theatre:
    """Plays inputs on a stage, a new one now and then, in virtual time.

    Args:
        stage: Makes one on a world.
        traces: Where tracebacks would be logged.
    """

    def __init__(self, stage: Callable[[World], _Stage], traces: Traces) -> None:
        self._make_stage = stage
        self._traces = traces
        self._unhandled: list[str] = []
        self._played: list[object] = []
        self._runner: asyncio.Runner | None = None

    def __call__(self, data: bytes) -> None:
        with suppress(AmzmqError):
            value = decode(data)
            if isinstance(value, list):
                steps = [step for step in value if isinstance(step, list) and len(step) > 1]
                self._play(steps[:STEPS], value)

    def _play(self, steps: list[list[Any]], value: list[object]) -> None:
        if self._runner is None:
            self._open()
        assert self._runner is not None
        self._played += value
        try:
            self._runner.run(self._act(steps))
            self._check()
        except BaseException as error:
            story = encode(self._played)
            self._drop()
            if isinstance(error, Exception):
                raise Finding(f"{error!r}", story) from error
            raise
        self._inputs += 1
        if self._inputs >= INPUTS_A_WORLD:
            self.close()

    async def _act(self, steps: list[list[Any]]) -> None:
        await self._stage.play(steps)
        self._stage.check()

    def _check(self) -> None:
        self._traces.check()
        if self._unhandled:
            raise Finding(self._unhandled.pop())

    def _open(self) -> None:
        self._played = []
        self._inputs = 0
        self._seeded = determined(0)
        self._seeded.__enter__()
        self._state = random.getstate()
        random.seed(0)
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._runner.get_loop().set_exception_handler(
            lambda loop, context: self._unhandled.append(str(context))
        )
        self._runner.run(self._set_up())

    async def _set_up(self) -> None:
        self._stack = AsyncExitStack()
        self._stage = self._make_stage(World(self._stack))
        await self._stage.begin()

    def close(self) -> None:
        """End the world in good order."""
        if self._runner is not None:
            try:
                self._runner.run(self._stack.aclose())
                self._check()
            finally:
                self._drop()

    def _drop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()
            random.setstate(self._state)
            self._seeded.__exit__(None, None, None)
            self._unhandled.clear()


def _frame(what: object) -> bytes:
    if isinstance(what, bytes):
        return what
    return encode(what)


def _body(what: object) -> bytes:
    """A message of the feed, without its stream."""
    match what:
        case [int(kind), *fields] if 0 <= kind < 256:
            return bytes([kind]) + encode(fields)
    return _frame(what)


class _Strangers:
    """Three who talk to a source: the first one is a client of it, as long as it behaves."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def begin(self) -> None:
        self.mux = await self._world.serve(journal=JOURNAL, heartbeat=1000.0)
        self.honest = await self._world.follow("honest")
        transport = self._world.network.transport()
        self.dealers: list[MemoryDealer] = [
            transport.dealer(ADDR, lambda frame, blobs: None, lambda connected: None)
            for _ in range(3)
        ]
        self.spy = transport.subscriber(FEED, lambda frame: None)
        await turns(3)

    async def play(self, steps: list[list[Any]]) -> None:
        if self.mux._sessions.named("stranger") is None:
            self.dealers[0].send(to_frame(Hello(1, "rc-stranger", b"12345678", b"")))
        for who, what, *blobs in steps:
            with suppress(AmzmqError):
                frame = _frame(what)
                if type(who) is int and 0 <= who < 3:
                    self.dealers[who].send(frame, [b for b in blobs if isinstance(b, bytes)])
                elif who == 3:
                    self._world.network.inject_garbage(FEED, frame)
                elif who == 4:
                    self.spy.subscribe(frame)
                    self.spy.unsubscribe(frame)
        await turns(4)
        await level(_source(self.mux), self.honest)

    def check(self) -> None:
        mux, sessions = self.mux, self.mux._sessions
        _at_most(len(sessions), 4, "sessions")
        _at_most(len(sessions._departed), DEPARTED_KEPT, "departed sessions")
        _at_most(mux._desk.waiting, 8, "questions")
        for server in (*sessions, *sessions._departed.values()):
            _at_most(len(server._results), REPLIES_KEPT, "results")
            _at_most(len(server.watches), WATCH_LIMIT, "watches")
            _at_most(len(server.watches._answered), WATCH_LIMIT, "answered watches")
            _at_most(len(server.followed), FOLLOWED_LIMIT, "followed streams")
            _at_most(len(server.outbox), OUTBOX_LIMIT, "payloads")
        for feed in mux._sources.feeds:
            _at_most(len(list(feed.streams)), STREAM_LIMIT, "streams")
            for stream in feed.streams:
                _at_most(stream.journal.size_bytes, JOURNAL.size_bytes, "bytes of a journal")
        _check_timers()


class _Victim:
    """A client whose source seems to talk nonsense, on both of its ways."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def begin(self) -> None:
        self.mux = await self._world.serve(journal=JOURNAL, heartbeat=1000.0)
        self.honest = await self._world.follow("honest")
        self.victim = await self._lied_to()

    async def _lied_to(self) -> Client | Subscriber:
        return await self._world.follow("victim", call_timeout=0.05)

    async def play(self, steps: list[list[Any]]) -> None:
        source, victim = _source(self.mux), self.victim
        for who, what, *blobs in steps:
            with suppress(AmzmqError):
                if who == 0:
                    data = [blob for blob in blobs if isinstance(blob, bytes)]
                    victim.conversation.on_message(_frame(what), data)
                elif who in (1, 2):
                    self._feed([_body(what)], who == 1)
                elif who == 6 and isinstance(what, list):
                    self._feed([_body(body) for body in what], True)
                elif who == 5:
                    self._feed_right(what)
                elif who == 3:
                    self._use(blobs)
                elif who == 4:
                    source.add(source.state_names[len(blobs) % 4])
                await turns(1)
        await turns(4)
        await level(source, self.honest)
        if not victim.mach.is_("Ready"):
            await victim.stop()
            self.victim = await self._lied_to()

    def _feed(self, bodies: list[bytes], begins_right: bool) -> None:
        """Frames that arrive together."""
        follower = self._follower()
        if follower is not None:
            stream = follower.stream_id if begins_right else b""
            follower.on_frames([stream + body for body in bodies])

    def _feed_right(self, what: object) -> None:
        """An update that is next and right, by its checksum: [queue ticks, changes, more...]."""
        follower = self._follower()
        if follower is None or not isinstance(what, list) or len(what) < 2:
            return
        queue, changes, *more = what
        checksum: object = 0
        with suppress(TypeError, ValueError, IndexError, OverflowError, MemoryError):
            total = follower.reader._sum.after(changes, queue, more[0] if more else 0)
            checksum = total & CHECKSUM_MASK
        body = UPDATE_BYTE + encode([follower.number + 1, queue, changes, checksum, *more])
        self._feed([body], True)

    def _follower(self) -> Follower | None:
        assert isinstance(self.victim, Client)
        return self.victim.following.follower

    def _use(self, blobs: list[object]) -> None:
        """The victim asks for something itself, and does not wait."""
        assert isinstance(self.victim, Client)
        net = self.victim.following.net
        if net is not None and not net.is_disposing:
            _forget(net.add(net.state_names[0]) if blobs else net.when_args("A", x=1))

    def check(self) -> None:
        victim = self.victim
        assert isinstance(victim, Client)
        follower = victim.following.follower
        if follower is not None:
            _at_most(len(follower.reader._ahead), AHEAD_LIMIT, "messages kept aside")
            _at_most(len(follower._syncs), 2, "questions")
        _at_most(len(victim.deliveries._held), OUTBOX_LIMIT, "payloads kept")
        _at_most(len(victim.fetcher._transfers), 64, "blobs")
        _check_timers()


class _Watcher(_Victim):
    """A subscriber whose source seems to talk nonsense."""

    async def _lied_to(self) -> Subscriber:
        sub = Subscriber(
            ADDR,
            name="victim",
            transport=self._world.network.transport(),
            **(QUICK | {"call_timeout": 0.05}),
        )
        self._world._stack.push_async_callback(sub.stop)
        sub.start()
        async with asyncio.timeout(10):
            await sub.ready()
        return sub

    def _follower(self) -> Follower | None:
        assert isinstance(self.victim, Subscriber)
        return next((it.follower for it in self.victim.followed if it.is_followed), None)

    def _use(self, blobs: list[object]) -> None:
        assert isinstance(self.victim, Subscriber)
        if self.victim.mach.is_("Ready"):
            _forget(asyncio.ensure_future(self.victim.refresh()))

    def check(self) -> None:
        victim = self.victim
        assert isinstance(victim, Subscriber)
        for it in victim.followed:
            if it.is_followed:
                _at_most(len(it.follower.reader._ahead), AHEAD_LIMIT, "messages kept aside")
        _at_most(len(victim.deliveries._held), OUTBOX_LIMIT, "payloads kept")
        _at_most(len(victim.followed), 64, "machines")
        _check_timers()


def _forget(work: Awaitable[object]) -> None:
    """Its outcome is the victim's affair, unless it is an error of no known kind."""

    def done(future: Any) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and not isinstance(error, AmzmqError):
            raise Finding(f"{error!r}") from error

    if isinstance(work, asyncio.Future):
        work.add_done_callback(done)


def _source(mux: Mux) -> Any:
    return mux.source


def _at_most(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise Finding(f"{count} {what}, {limit} at most")


def _check_timers() -> None:
    _at_most(len(asyncio.get_running_loop()._scheduled), 400, "timers")  # type: ignore[attr-defined]
    _at_most(len(asyncio.all_tasks()), 40, "tasks")


def _play(stage: Callable[[World], _Stage]) -> Callable[[Traces], Play]:
    return lambda traces: _Theatre(stage, traces)


def _mux_seeds() -> list[bytes]:
    frames = [list(_fields(to_frame(message))) for message in MESSAGES]
    hello = frames[0]
    return [
        encode([[0, frame] for frame in frames]),
        *[encode([[0, frame]]) for frame in frames],
        encode([[1, hello], [1, frames[6]], [1, frames[3]], [1, frames[9]], [2, frames[17]]]),
        encode([[0, [11, 5, [[1, "x"]]]]]),
        encode([[3, b"\x05rubbish"], [4, b""], [4, b"streamid"], [2, b"\xc1"]]),
    ]


def _client_seeds() -> list[bytes]:
    frames = [list(_fields(to_frame(message))) for message in MESSAGES]
    bodies: list[list[object]] = [[body[0], *_fields(body[1:])] for body in BODIES]
    return [
        *[encode([[0, frame, b"abcd"]]) for frame in frames],
        *[encode([[1, body], [4, 0], [3, 0, 1], [3, 0]]) for body in bodies],
        encode([[1, body] for body in bodies]),
        encode([[6, BODIES[:3]], [6, [BODIES[0], BODIES[4], b"x"]]]),
        encode([[5, [1, [0, 1]]], [5, [1, [1, 1], 1, 0, [1]]], [5, [0, [0, b"x"]]]]),
        encode([[2, b"x"], [2, b"streamid"], [4, 0], [3, 0, 1], [0, frames[8]], [0, frames[25]]]),
    ]


def _fields(packed: bytes) -> list[Any]:
    value = decode(packed)
    assert isinstance(value, list)
    return value


TARGETS = [
    Target("mux", _play(_Strangers), _mux_seeds, max_size=2048),
    Target("client", _play(_Victim), _client_seeds, max_size=2048),
    Target("subscriber", _play(_Watcher), _client_seeds, max_size=2048),
]
