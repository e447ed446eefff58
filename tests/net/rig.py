"""What the tests of all kinds of socket share: records of what these were told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from amzmq.net import MemoryNetwork, SocketOptions, Transport

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
