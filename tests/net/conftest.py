from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from amzmq.net import Delivery, MemoryNetwork, SocketOptions, Transport, ZmqTransport

PATIENCE_S = 20.0

# Quick to notice and quick to return, so that no test waits for the defaults.
QUICK = SocketOptions(reconnect_ms=10, reconnect_max_ms=40, linger_ms=50)


async def until(condition: Callable[[], object]) -> None:
    """Turns the loop until the condition holds; a test that never gets there fails."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@dataclass
class World:
    """Two transports that can reach each other, and a way to make addresses."""

    kind: str
    source: Transport
    client: Transport
    any_address: str
    memory: MemoryNetwork | None


@dataclass
class Ends:
    """Records what the four kinds of socket were told."""

    at_router: list[tuple[bytes, bytes, tuple[bytes, ...]]] = field(default_factory=list)
    at_dealer: list[tuple[bytes, tuple[bytes, ...]]] = field(default_factory=list)
    edges: list[bool] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    ended: list[bytes] = field(default_factory=list)
    garbage: list[bytes] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    allowed: set[bytes] = field(default_factory=set)

    def on_peer(self, peer: bytes, frame: bytes, blobs: Sequence[bytes]) -> None:
        self.at_router.append((peer, frame, tuple(blobs)))

    def on_message(self, frame: bytes, blobs: Sequence[bytes]) -> None:
        self.at_dealer.append((frame, tuple(blobs)))

    def on_subscribe(self, topic: bytes) -> bool:
        self.asked.append(topic)
        return topic in self.allowed


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def ipc_dir() -> Iterator[str]:
    # Not tmp_path: that is often longer than the 107 bytes a socket's path may have.
    with tempfile.TemporaryDirectory(prefix="net") as path:
        yield path


@pytest.fixture(params=["memory", "tcp", "ipc"])
async def world(request: pytest.FixtureRequest, ipc_dir: str) -> AsyncIterator[World]:
    if request.param == "memory":
        network = MemoryNetwork()
        made = World("memory", network.transport(), network.transport(), "mem://a:*", network)
    else:
        address = "tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{ipc_dir}/a"
        made = World(request.param, ZmqTransport(QUICK), ZmqTransport(QUICK), address, None)
    yield made
    await made.client.close()
    await made.source.close()


__all__ = ["PATIENCE_S", "QUICK", "Delivery", "Ends", "World", "until"]
