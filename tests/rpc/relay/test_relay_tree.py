"""A tree of real processes: one source, two relays, four relays below, followers at the edge.

12 followers in 3 processes by default; AMZMQ_SOAK=1 makes it 40, each in a process of its own, and
longer.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.rpc.test_processes import Host, Program, until

SOAK = os.environ.get("AMZMQ_SOAK") == "1"
LEAVES, A_PROCESS = (40, 1) if SOAK else (12, 4)
KILLS = 12 if SOAK else 3
AT_ONCE = 8
"""Processes started together: more would only fight for the processors."""

pytestmark = pytest.mark.timeout(300 if SOAK else 120)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with AsyncExitStack() as stack:
        yield Host(stack)


class Tree:
    """The processes, and which of them can be killed."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.options: list[dict[str, Any]] = []
        self.relays: list[Program] = []
        self.leaves: list[Program] = []

    async def grow(self) -> None:
        """Starts everything, from the source on."""
        self.source = await self._host.run("source")
        top = [self.source.hello["addr"]]
        for name in ("r1", "r2"):
            await self._relay(name, top)
        middle = [relay.hello["addr"] for relay in self.relays]
        for at, name in enumerate(("r3", "r4", "r5", "r6")):
            await self._relay(name, _turned(middle, at))
        edge = [relay.hello["addr"] for relay in self.relays[2:]]
        addrs = {f"f{n}": _turned(edge, n) for n in range(LEAVES)}
        names = list(addrs)
        groups = [names[at : at + A_PROCESS] for at in range(0, LEAVES, A_PROCESS)]
        for at in range(0, len(groups), AT_ONCE):
            runs = [
                self._host.run("leaves", leaves={name: addrs[name] for name in group})
                for group in groups[at : at + AT_ONCE]
            ]
            self.leaves += await asyncio.gather(*runs)

    async def _relay(self, name: str, upstream: list[str]) -> None:
        options = {"name": name, "upstream": upstream}
        relay = await self._host.run("relay", **options)
        address = {"bind": relay.hello["addr"], "feed": relay.hello["feed"]}
        self.options.append(options | address)
        self.relays.append(relay)

    async def restart(self, at: int) -> None:
        """Kills a relay the hard way, and starts it again at its address."""
        await self.relays[at].kill()
        self.relays[at] = await self._host.run("relay", **self.options[at])

    async def states(self) -> list[dict[str, Any]]:
        """What each follower at the edge has."""
        return [state for leaf in self.leaves for state in await leaf.ask("states")]

    async def is_level(self) -> bool:
        """Whether everybody has what the source has."""
        clock = await self.source.ask("clock")
        sent = (await self.source.ask("status"))["payloads"]
        clocks = [await relay.ask("clock") for relay in self.relays]
        return all(other == clock for other in clocks) and all(
            state["ready"]
            and state["clock"] == clock
            and state["payloads"] + state["payloads_lost"] == sent
            for state in await self.states()
        )


def _turned(addrs: list[str], by: int) -> list[str]:
    by %= len(addrs)
    return addrs[by:] + addrs[:by]


async def test_relays_killed_and_restarted_under_load_lose_nothing_uncounted(host: Host) -> None:
    tree = Tree(host)
    await tree.grow()
    await until(tree.is_level)
    joined = {state["addr"] for state in await tree.states()}
    assert joined == {relay.hello["addr"] for relay in tree.relays[2:]}
    await tree.source.ask("start_load")
    rng = random.Random(7)
    for kill in range(KILLS):
        # One of the upper row, then one of the lower.
        await tree.restart(rng.randrange(2) if kill % 2 == 0 else rng.randrange(2, 6))
    await tree.source.ask("stop_load")
    await until(tree.is_level)
    states = await tree.states()
    sent = (await tree.source.ask("status"))["payloads"]
    for state in states:
        assert state["mismatches"] == 0
        assert state["given"] == state["payloads"] == sent - state["payloads_lost"]
        assert len(state["path"]) == 3  # depth 2, whichever way
    assert sent > 100
    assert max(state["connects"] for state in states) > 1
    for leaf in tree.leaves:
        assert set(await leaf.ask("add", "A")) == {"executed"}
    await until(tree.is_level)
    # The source itself serves nobody but the two relays at the top.
    assert (await tree.source.ask("status"))["clients"] == ["rc-r1", "rc-r2"]


async def test_a_relay_process_serves_what_it_knows_until_its_source_is_back(host: Host) -> None:
    source = await host.run("source")
    relay = await host.run("relay", name="r1", upstream=[source.hello["addr"]])
    leaves = await host.run("leaves", leaves={"f0": [relay.hello["addr"]]})
    await source.ask("add", "A")
    await until(lambda: _is_level(source, leaves))
    (before,) = await leaves.ask("states")
    await source.kill()
    await until(lambda: _is_ready(relay, False))
    (after,) = await leaves.ask("states")
    assert after["clock"] == before["clock"]
    assert after["ready"]
    assert await leaves.ask("add", "B") == ["NotConnected"]
    address = {"bind": source.hello["addr"], "feed": source.hello["feed"]}
    again = await host.run("source", **address)
    await again.ask("add", "C")
    await until(lambda: _is_ready(relay, True))
    await until(lambda: _is_level(again, leaves))
    assert await leaves.ask("add", "B") == ["executed"]


async def _is_ready(relay: Program, ready: bool) -> bool:
    return bool((await relay.ask("status"))["ready"] is ready)


async def _is_level(source: Program, leaves: Program) -> bool:
    clock = await source.ask("clock")
    return all(it["clock"] == clock and it["ready"] for it in await leaves.ask("states"))
