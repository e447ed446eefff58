"""The machines of the reference's tests, and a source and a follower on real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from amzmq.errors import AddressInUse
from amzmq.machine import Machine, Schema, State
from amzmq.net import Dealer, Subscriber, ZmqTransport
from amzmq.net.transport import ConnectedFn, FramesFn, MessageFn
from amzmq.rpc import Client, Mux, NetworkMachine
from amzmq.wire.control import Message, Mutate, Reply
from amzmq.wire.control_frames import from_frame

PATIENCE_S = 10.0

NAMES = ("Exception", "A", "B", "C", "D", "ErrOnClient")

# Small enough that no test waits for the defaults, large enough for a busy computer.
QUICK: dict[str, Any] = {
    "conn_timeout": 0.5,
    "conn_retries": 500,
    "conn_retry_delay": 0.01,
    "conn_retry_backoff": 0.05,
    "disconn_cooldown": 0.0,
}


def schema_of(**states: State) -> Schema:
    """A B C D, as given or plain, between the two states of errors."""
    plain = {name: states.pop(name, State()) for name in "ABCD"}
    return {
        "Exception": State(multi=True),
        **plain,
        **states,
        "ErrOnClient": State(require=["Exception"]),
    }


def no_rels(id: str = "src", /, **states: State) -> Machine:
    """The reference's NoRels source, with the states given."""
    return Machine(schema_of(**states), id=id)


def rels(id: str = "src", /, **states: State) -> Machine:
    """The reference's Rels source (spec rpc 4.8), with further states."""
    return no_rels(
        id,
        A=State(auto=True, require="C"),
        B=State(multi=True, add="C"),
        C=State(after="D"),
        D=State(add=["C", "B"]),
        **states,
    )


def clock_of(of: Machine | NetworkMachine) -> tuple[tuple[int, ...], int, int]:
    """Everything that replicates, of a source or a replica."""
    return tuple(of.time()), of.queue_tick, of.machine_tick


async def soon(wait: Any) -> Any:
    """Awaits within the patience of a test."""
    async with asyncio.timeout(PATIENCE_S):
        return await wait


async def until(condition: Callable[[], object]) -> None:
    """Turns the loop until the condition holds; a test that never gets there fails."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


class Wire(ZmqTransport):
    """ZeroMQ, with every frame of a client noted, and some of them lost on demand.

    Attributes:
        sent, received: Frames of the conversation, without ZMTP's framing.
        fed: Frames of the feed.
        loses: Says of each message of the conversation whether it is lost, either way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.fed: list[bytes] = []
        self.loses: Callable[[Message], bool] = lambda message: False

    def clear(self) -> None:
        """Forgets what was noted."""
        for frames in (self.sent, self.received, self.fed):
            frames.clear()

    def requests(self) -> list[Message]:
        """The mutations sent."""
        return [m for m in map(from_frame, self.sent) if isinstance(m, Mutate)]

    def bytes_of_calls(self) -> int:
        """Bytes of all mutations and replies; not those of heartbeats in between."""
        frames = [*self.sent, *self.received]
        return sum(len(f) for f in frames if isinstance(from_frame(f), Mutate | Reply))

    def dealer(  # type: ignore[override]
        self, endpoint: str, on_message: MessageFn, on_connected: ConnectedFn
    ) -> Dealer:
        def receive(frame: bytes, blobs: Sequence[bytes]) -> None:
            self.received.append(frame)
            if not self.loses(from_frame(frame)):
                on_message(frame, blobs)

        return _WiredDealer(super().dealer(endpoint, receive, on_connected), self)

    def subscriber(  # type: ignore[override]
        self, endpoint: str, on_frames: FramesFn
    ) -> Subscriber:
        def receive(frames: Sequence[bytes]) -> None:
            self.fed.extend(frames)
            on_frames(frames)

        return super().subscriber(endpoint, receive)


class _WiredDealer:
    def __init__(self, dealer: Dealer, wire: Wire) -> None:
        self._dealer = dealer
        self._wire = wire

    @property
    def connected(self) -> bool:
        return self._dealer.connected

    def send(self, frame: bytes, blobs: Sequence[bytes] = ()) -> bool:
        self._wire.sent.append(frame)
        return self._wire.loses(from_frame(frame)) or self._dealer.send(frame, blobs)

    def close(self) -> None:
        self._dealer.close()


def loses_first(kind: type[Message], times: int = 1) -> Callable[[Message], bool]:
    """Loses the first messages of a kind."""
    left = times

    def loses(message: Message) -> bool:
        nonlocal left
        if left and isinstance(message, kind):
            left -= 1
            return True
        return False

    return loses


@dataclass(slots=True)
class Link:
    """A source, and a follower of it over TCP."""

    source: Machine
    mux: Mux
    client: Client
    wire: Wire

    @property
    def net(self) -> NetworkMachine:
        return self.client.net_mach

    async def level(self) -> None:
        """Waits until the replica equals the source: every tick, not some of them."""
        await until(lambda: clock_of(self.net) == clock_of(self.source))
        assert set(self.net.active_states()) == set(self.source.active_states())


async def started(source: Machine | None, **options: Any) -> Mux:
    """Starts a Mux, perhaps where one was a moment ago.

    While others of this process use ZeroMQ, a listener is closed a moment after its Mux has
    stopped.
    """
    async with asyncio.timeout(PATIENCE_S):
        while True:
            mux = Mux(source, **options)
            try:
                await mux.start()
                return mux
            except AddressInUse:
                await asyncio.sleep(0.005)


class Links:
    """Starts sources and followers, and stops them with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def serve(self, source: Machine | None, **options: Any) -> Mux:
        """A source, by default on free ports."""
        options.setdefault("bind", "tcp://127.0.0.1:0")
        mux = await started(source, **options)
        self._stack.push_async_callback(mux.stop)
        return mux

    def client(self, addr: str, name: str = "", **options: Any) -> Client:
        """A follower, not started."""
        client = Client(addr, name, **(QUICK | options))
        self._stack.push_async_callback(client.stop)
        return client

    async def follow(self, mux: Mux, source: Machine, **options: Any) -> Link:
        """A follower that knows the source's schema, Ready."""
        if not options.get("no_schema"):
            options.setdefault("schema", source.schema)
        wire = Wire()
        client = self.client(mux.addr, transport=wire, **options)
        client.start()
        await soon(client.ready())
        return Link(source, mux, client, wire)

    async def __call__(
        self, source: Machine, mux_options: dict[str, Any] | None = None, **options: Any
    ) -> Link:
        """Both: the fixture of nearly every test of the reference."""
        mux = await self.serve(source, **(mux_options or {}))
        return await self.follow(mux, source, **options)

    async def free_address(self) -> dict[str, Any]:
        """Where nobody listens, as options of a Mux."""
        async with Mux(no_rels()) as mux:
            return {"bind": mux.addr, "feed": mux.feed_addr}


class ThreadedSource:
    """A source on a thread of its own: its handlers may block without blocking the test."""

    def __init__(self, source: Machine) -> None:
        self.addr = ""
        self._source = source
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="source")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with Mux(self._source) as mux:
            self.addr = mux.addr
            self._up.set()
            await self._stop.wait()

    def __enter__(self) -> ThreadedSource:
        self._thread.start()
        assert self._up.wait(PATIENCE_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
