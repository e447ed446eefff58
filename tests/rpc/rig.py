"""Sources and followers on a network in memory, and ways to wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from amzmq.machine import Machine, Schema, State
from amzmq.net import MemoryNetwork
from amzmq.rpc import Client, Mux, Payload
from amzmq.wire.control import Message
from amzmq.wire.control_frames import from_frame

PATIENCE_S = 10.0

ADDR = "mem://source"
FEED = "mem://source.feed"

SCHEMA: Schema = {
    "A": State(),
    "B": State(),
    "Auto": State(auto=True, require=["A", "B"]),
    "Multi": State(multi=True),
    "Never": State(require=["Absent"]),
    "Absent": State(remove=["Never"]),
    "ErrDisk": State(require=["Exception"]),
    "ErrOnClient": State(require=["Exception"]),
}

# Small enough that no test waits for the defaults, large enough for a busy computer.
QUICK: dict[str, Any] = {
    "conn_timeout": 1.0,
    "conn_retries": 200,
    "conn_retry_delay": 0.005,
    "conn_retry_backoff": 0.02,
    "disconn_cooldown": 0.0,
}


async def until(condition: Callable[[], object]) -> None:
    """Turns the loop until the condition holds; a test that never gets there fails."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


async def soon(wait: Any) -> Any:
    """Awaits within the patience of a test."""
    async with asyncio.timeout(PATIENCE_S):
        return await wait


async def turns(count: int = 20) -> None:
    """Lets everything happen that is due at once."""
    for _ in range(count):
        await asyncio.sleep(0)


class World:
    """One network, and everybody on it until the end of the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.network = MemoryNetwork()
        self._stack = stack

    async def serve(self, source: Machine | None = None, **options: Any) -> Mux:
        """A source at `ADDR`."""
        source = source or machine()
        options.setdefault("bind", ADDR)
        mux = Mux(source, transport=self.network.transport(), **options)
        self._stack.push_async_callback(mux.stop)
        await mux.start()
        return mux

    def client(self, name: str = "", **options: Any) -> Client:
        """A client of it, not started."""
        client = Client(
            options.pop("addr", ADDR),
            name=name,
            transport=self.network.transport(),
            **(QUICK | options),
        )
        self._stack.push_async_callback(client.stop)
        return client

    async def follow(self, name: str = "", **options: Any) -> Client:
        """A client of it, level with the source."""
        client = self.client(name, **options)
        client.start()
        await soon(client.ready())
        return client


@asynccontextmanager
async def new_world() -> AsyncIterator[World]:
    """A world that ends with its block; for tests in virtual time, which share nothing."""
    async with AsyncExitStack() as stack:
        yield World(stack)


def machine(id: str = "src", schema: Schema | None = None) -> Machine:
    """A source."""
    return Machine(SCHEMA if schema is None else schema, id=id)


def clock_of(of: Any) -> tuple[tuple[int, ...], int, int]:
    """Everything that replicates, of a source or a replica."""
    return tuple(of.time()), of.queue_tick, of.machine_tick


def is_level(client: Client, source: Machine) -> bool:
    """Whether a replica equals its source, reads included."""
    net = client.net_mach
    return clock_of(net) == clock_of(source) and set(net.active_states()) == set(
        source.active_states()
    )


async def level(source: Machine, *clients: Client) -> None:
    """Waits until all replicas equal the source, and their handshakes are over.

    In a handshake a replica is level a moment before the client is Ready and has counted.
    """
    await until(
        lambda: all(is_level(client, source) and client.mach.is_("Ready") for client in clients)
    )


class Payloads:
    """Notes what a client is given: the payloads, and the clock of its replica at each."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.all: list[Payload] = []
        self.times: list[Sequence[int]] = []
        client.on_payload(self._take)

    def _take(self, payload: Payload) -> None:
        self.all.append(payload)
        self.times.append(tuple(self.client.net_mach.time()))

    @property
    def data(self) -> list[Any]:
        return [payload.data for payload in self.all]


class Losing:
    """A fault that loses the messages a test names, and passes on all others.

    Args:
        kind: The messages that may be lost.
        times: How many of them are.
    """

    def __init__(self, kind: type[Message], times: int = 1) -> None:
        self.left = times
        self.lost: list[Message] = []
        self._kind = kind

    def __call__(self, frame: bytes) -> Sequence[float]:
        message = from_frame(frame)
        if self.left and isinstance(message, self._kind):
            self.left -= 1
            self.lost.append(message)
            return ()
        return (0.0,)
