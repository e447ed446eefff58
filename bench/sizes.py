"""What our frames measure, so that the limits carry as many bytes.

Asked of a source and a client on the in-memory network, because a constant would be forgotten
when the wire changes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache

from amzmq import Client, Mux
from amzmq.net import MemoryNetwork
from bench.report import BenchError
from bench.scenario import small_machine

# Numbers take one byte below 128, two below 256, three below 65,536: runs are mostly here.
TYPICAL = 1_000


@dataclass(frozen=True)
class Sizes:
    """Bytes of one remote add: asked, answered, and told to all followers."""

    request: int
    reply: int
    update: int


def request_bytes() -> int:
    """A remote add of one state."""
    return measured().request


def reply_bytes() -> int:
    """Its reply, with the update it caused."""
    return measured().reply


def update_bytes() -> int:
    """A feed frame that tells of one state."""
    return measured().update


@cache
def measured() -> Sizes:
    """Look at the frames of one add behind many."""
    return asyncio.run(_measure())


async def _measure() -> Sizes:
    network = MemoryNetwork()
    control: list[int] = []
    feed: list[int] = []

    def note(sizes: list[int], frame: bytes) -> tuple[float, ...]:
        sizes.append(len(frame))
        return (0.0,)

    # No heartbeat comes between.
    async with (
        Mux(
            small_machine(), bind="mem://sizes:1", heartbeat=600, transport=network.transport()
        ) as m,
        Client(m.addr, name="sizes", transport=network.transport()) as client,
    ):
        for _ in range(TYPICAL):
            await client.net_mach.add("H")
        network.control_fault = lambda frame: note(control, frame)
        network.feed_fault = lambda frame: note(feed, frame)
        await client.net_mach.add("H")
        # The feed's frame is behind the reply.
        await client.sync()
    if len(control) < 2 or not feed:
        raise BenchError(f"one add made {len(control)} messages and {len(feed)} frames of the feed")
    return Sizes(control[0], control[1], feed[0])
