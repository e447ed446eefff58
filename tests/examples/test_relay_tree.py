from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

from amzmq import Client
from tests.examples.programs import ANY, EXAMPLES, PATIENCE_S, Program, python, running
from tests.ports import free_addr

FOLDER = EXAMPLES / "relay_tree"


class Tree:
    """One source, two relays, two more below them, and readers at the leaves."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.source_addr = free_addr()
        self.relays: list[Program] = []
        self.edges: list[str] = []
        self.readers: list[Program] = []

    async def grow(self, readers: int) -> None:
        self.source = await self._start("source.py", self.source_addr)
        assert await self.source.addr() == self.source_addr
        upper = [await self._relay(self.source_addr) for _ in range(2)]
        self.edges = [await self._relay(*upper), await self._relay(*reversed(upper))]
        for number in range(readers):
            ways = self.edges if number % 2 else self.edges[::-1]
            self.readers.append(await self._start("reader.py", *ways))

    async def _start(self, name: str, *args: str) -> Program:
        return await self._stack.enter_async_context(running(*python(FOLDER / name, *args)))

    async def _relay(self, *upstream: str) -> str:
        relay = await self._start("relay.py", ANY, *upstream)
        self.relays.append(relay)
        return await relay.addr()

    async def all_say(self, text: str) -> None:
        await asyncio.gather(*(reader.says(f"^{text}$") for reader in self.readers))


async def test_a_change_at_a_leaf_runs_at_the_source_and_reaches_every_reader() -> None:
    async with AsyncExitStack() as stack:
        tree = Tree(stack)
        await tree.grow(readers=3)
        await tree.all_say("closed, 0 quotes")
        async with Client(tree.edges[0]) as leaf, Client(tree.source_addr) as direct:
            await leaf.net_mach.add("Open")
            await direct.sync()
            assert direct.net_mach.is_("Open")
            for _ in range(3):
                await leaf.net_mach.add("Quote")
            assert leaf.net_mach.tick("Quote") == 5
        await tree.all_say("open, 3 quotes")


async def test_readers_go_on_by_another_way_when_relays_die() -> None:
    async with AsyncExitStack() as stack:
        tree = Tree(stack)
        await tree.grow(readers=2)
        async with Client(tree.source_addr) as client:
            await client.net_mach.add("Open")
            await tree.all_say("open, 0 quotes")
            for dying in (tree.relays[0], tree.relays[2]):  # one of each level
                dying.send(signal.SIGKILL)
                await dying.ended()
            await client.net_mach.add("Quote")
            await client.net_mach.add("Quote")
        await tree.all_say("open, 2 quotes")


async def test_while_the_source_is_away_relays_serve_what_was_known() -> None:
    async with AsyncExitStack() as stack:
        tree = Tree(stack)
        await tree.grow(readers=1)
        async with Client(tree.source_addr) as client:
            await client.net_mach.add("Open")
        await tree.all_say("open, 0 quotes")
        tree.source.send(signal.SIGKILL)
        await tree.relays[0].says("serving what was known last")
        async with asyncio.timeout(PATIENCE_S), Client(tree.edges[0]) as late:
            assert late.net_mach.is_("Open")
        async with running(*python(FOLDER / "source.py", tree.source_addr)):
            await tree.relays[0].says("level with upstream again")
            await tree.all_say("closed, 0 quotes")
