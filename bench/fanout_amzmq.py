"""A fan-out: one Mux, and many clients that hold a replica each."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from amzmq import Client, Mux
from bench.channel import Channel
from bench.pace import CHUNK, Gate, Stopwatch, tell_progress
from bench.report import BenchError
from bench.scenario import small_machine


async def source(channel: Channel, fd: int, updates: int, turns: bool) -> None:
    """Adds and removes C, each as an update of its own.

    Args:
        channel: To the parent.
        fd: Tells of the followers' progress.
        updates: How many.
        turns: Whether the loop turns once for each update, which flushes it, or `flush` does.
    """
    machine = small_machine()
    async with Mux(machine, bind="tcp://127.0.0.1:0") as mux:
        channel.send(addr=mux.addr)
        await channel.receive_async()
        before = mux.published["updates"]
        add, remove, turn, flush, gate, watch = (
            machine.add,
            machine.remove,
            asyncio.sleep,
            mux.flush,
            Gate(fd),
            Stopwatch(),
        )
        for number in range(1, updates + 1, 2):
            add("C")
            if turns:
                await turn(0)
            else:
                flush()
            remove("C")
            if turns:
                await turn(0)
            else:
                flush()
            if not (number + 1) % CHUNK:
                await gate.open_async(number + 1)
        await gate.open_async(updates, window=1)
        figures = watch.per_update(updates)
        if (published := mux.published["updates"] - before) != updates:
            raise BenchError(f"{updates} mutations were published as {published} updates")
        channel.send(**figures, state=list(machine.time()))
        await channel.receive_async()


async def followers(channel: Channel, fd: int, followers: int, updates: int) -> None:
    """Follows with so many clients."""
    addr = (await channel.receive_async())["addr"]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(addr, name=f"bench-{at}"))
            for at in range(followers)
        ]
        replicas = [client.net_mach for client in clients]
        # Every update moves C by one.
        before = replicas[0].tick("C")
        channel.send(ready=True)
        await tell_progress(fd, lambda at: replicas[at].tick("C") - before, followers, updates)
        # A loss heals, but a replica that took a shortcut has not done the same work.
        if gaps := sum(client.metrics()["gaps"] for client in clients):
            raise BenchError(f"{gaps} times updates were lost on the way")
        channel.send(states=[list(replica.time()) for replica in replicas])
        await channel.receive_async()
