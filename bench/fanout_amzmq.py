"""A fan-out: one Mux, and many clients that hold a replica each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from amzmq import Client, Machine, Mux, NetworkMachine
from amzmq.machine.tracer import Tracer
from amzmq.net import ZmqTransport
from bench import traffic
from bench.channel import Channel
from bench.fanout_roles import Plan, Publishing, follow, publish
from bench.report import BenchError
from bench.scenario import SCHEMA, large_machine, small_machine


async def source(
    channel: Channel,
    fds: list[int],
    plan: Mapping[str, Any],
    turns: bool = False,
    states: int = 0,
    views: int = 0,
    heartbeat: float = 1.0,
) -> None:
    """Adds and removes C.

    Args:
        channel: To the parent.
        fds: Tell of the followers' progress.
        plan: How much to do.
        turns: Whether the loop turns once for each update, which flushes it, or `flush` does.
        states: Of the machine; 0 is the small one.
        views: How many different views the followers have; 0 is no view, but all there is.
        heartbeat: Seconds between heartbeats; a client silent for three is given up.
    """
    machine = large_machine(states) if states else small_machine()
    async with Mux(machine, bind="tcp://127.0.0.1:0", heartbeat=heartbeat) as mux:
        channel.send(addr=mux.addr)
        await channel.receive_async()
        send, before = _Sender(machine, mux), machine.tick("C")
        publishing = Publishing(
            send.turning if turns else send.flushing,
            send.turning if turns else send.merging,
            lambda: state_of(machine, before, views),
            # Each view has updates of its own.
            None if views else lambda: mux.published["updates"],
        )
        await publish(channel, fds, Plan(**plan), publishing)


class _Sender:
    """The three ways to publish mutations."""

    def __init__(self, machine: Machine, mux: Mux) -> None:
        self._mutate = machine.add, machine.remove
        self._flush = mux.flush

    async def flushing(self, first: int, last: int) -> None:
        """Each an update of its own, by `flush`."""
        mutate, flush = self._mutate, self._flush
        for number in range(first, last):
            mutate[number & 1]("C")
            flush()

    async def turning(self, first: int, last: int) -> None:
        """Each an update of its own, by a turn of the loop."""
        mutate, turn = self._mutate, asyncio.sleep
        for number in range(first, last):
            mutate[number & 1]("C")
            await turn(0)

    async def merging(self, first: int, last: int) -> None:
        """All at once, in however many updates the Mux makes of it."""
        mutate = self._mutate
        for number in range(first, last):
            mutate[number & 1]("C")


class Following(Tracer):
    """One replica, looked at."""

    id = "bench"

    def __init__(self, client: Client, views: int) -> None:
        self.client = client
        self._views = views
        self.machine: NetworkMachine = client.net_mach
        self.log: list[tuple[int, int]] = []
        self._before = self.machine.tick("C")

    def count(self) -> int:
        return self.machine.tick("C") - self._before

    def watch(self) -> None:
        self.machine.bind_tracer(self)

    def transition_end(self, tx: object) -> None:
        self.log.append((self.count(), time.monotonic_ns()))

    def state(self) -> list[int]:
        return state_of(self.machine, self._before, self._views)


def state_of(machine: Machine | NetworkMachine, before: int, views: int) -> list[int]:
    """How often C changed, and the whole clock of those who see all of it."""
    return [machine.tick("C") - before, *(() if views else machine.time())]


async def followers(
    channel: Channel,
    fd: int,
    followers: int,
    plan: Mapping[str, Any],
    first: int = 0,
    views: int = 0,
    shared: bool = False,
    heartbeat: float = 1.0,
) -> None:
    """Follows with so many clients.

    Args:
        channel: To the parent.
        fd: Tells of the progress.
        followers: How many.
        plan: How much will come.
        first: Number of the first of them.
        views: How many different views all followers have; 0 is no view, but all there is.
        shared: Whether the replicas of this process share a socket, a decode and a clock, as
            they do by themselves; or each stands for a program of its own.
        heartbeat: Seconds between those of the source.
    """
    addr = (await channel.receive_async())["addr"]
    began, bytes_before = time.perf_counter(), traffic.of_process()
    async with AsyncExitStack() as stack:
        replicas = []
        for at in range(first, first + followers):
            client = Client(
                addr,
                name=f"bench-{at}",
                allowed_states=view(at % views) if views else None,
                # A transport of its own is what keeps a replica from sharing.
                transport=None if shared else ZmqTransport(),
            )
            replicas.append(Following(await stack.enter_async_context(client), views))
        connected = {
            "connect_ms": (time.perf_counter() - began) * 1e3 / followers,
            "connect_bytes": (traffic.of_process() - bytes_before).total / followers,
        }
        await follow(channel, fd, Plan(**plan), replicas, **connected)
        # A loss heals, but a replica that took a shortcut has not done the same work.
        lossy = [found for r in replicas if (found := r.client.metrics())["gaps"]]
        if lossy:
            raise BenchError(f"updates were lost on the way to {len(lossy)} replicas: {lossy[0]}")


def view(number: int) -> list[str]:
    """C, and a choice of the other states that no other number makes."""
    others = [name for name in SCHEMA if name != "C"]
    return ["C", *(name for at, name in enumerate(others) if number >> at & 1)]
