"""A burst: a source that mutates at full speed, and clients that have to end where it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from amzmq import Client, Machine, Mux
from amzmq.net import ZmqTransport
from bench import traffic
from bench.channel import PATIENCE_S, Channel
from bench.report import BenchError
from bench.scenario import small_machine

PLAIN, TURNS, THREAD = "plain", "turns", "thread"


async def both(channel: Channel, followers: int, **how: Any) -> None:
    """Source and followers in this one process."""
    await channel.receive_async()
    async with _serving(how["push_interval"]) as (machine, mux), AsyncExitStack() as stack:
        clients = await _connect(stack, mux.addr, followers, how["shared"])
        waits = _waits(clients, machine.tick("C") + 2 * how["pairs"])
        before, watch = traffic.of_process(), _Watch()
        mutated_s = await mutate(machine, how["mode"], how["pairs"])
        await _until(waits)
        figures = watch.read()
        # Each byte is sent at one end and received at the other, both of them here.
        sent = (traffic.of_process() - before).sent
        channel.send(
            **figures,
            bytes=sent / followers,
            rate=2 * how["pairs"] / mutated_s,
            state=list(machine.time()),
            states=[list(client.net_mach.time()) for client in clients],
        )
        await channel.receive_async()


async def source(channel: Channel, followers: int, **how: Any) -> None:
    """The source alone; the parent tells when the others have got it."""
    async with _serving(how["push_interval"]) as (machine, mux):
        channel.send(addr=mux.addr, goal=machine.tick("C") + 2 * how["pairs"])
        await channel.receive_async()
        before, watch = traffic.of_process(), _Watch()
        mutated_s = await mutate(machine, how["mode"], how["pairs"])
        await channel.receive_async()
        figures = watch.read()
        carried = (traffic.of_process() - before).total
        channel.send(
            **figures,
            bytes=carried / followers,
            rate=2 * how["pairs"] / mutated_s,
            state=list(machine.time()),
        )
        await channel.receive_async()


async def followers(channel: Channel, followers: int, shared: bool) -> None:
    """So many followers, and when the last of them had it."""
    told = await channel.receive_async()
    async with AsyncExitStack() as stack:
        clients = await _connect(stack, told["addr"], followers, shared)
        waits = _waits(clients, told["goal"])
        channel.send(ready=True)
        await _until(waits)
        ended = time.monotonic_ns()
        channel.send(ended=ended, states=[list(client.net_mach.time()) for client in clients])
        await channel.receive_async()


async def mutate(machine: Machine, mode: str, pairs: int) -> float:
    """Add C and remove C so often; seconds it took."""
    began = time.perf_counter()
    if mode == PLAIN:
        _pairs(machine, pairs)
    elif mode == TURNS:
        for _ in range(pairs):
            machine.add("C")
            await asyncio.sleep(0)
            machine.remove("C")
            await asyncio.sleep(0)
    elif mode == THREAD:
        return await asyncio.to_thread(_timed_pairs, machine, pairs)
    else:
        raise BenchError(f"mode={mode!r}; there are {PLAIN}, {TURNS} and {THREAD}")
    return time.perf_counter() - began


def _pairs(machine: Machine, pairs: int) -> None:
    add, remove = machine.add, machine.remove
    for _ in range(pairs):
        add("C")
        remove("C")


def _timed_pairs(machine: Machine, pairs: int) -> float:
    assert threading.current_thread() is not threading.main_thread()
    began = time.perf_counter()
    _pairs(machine, pairs)
    return time.perf_counter() - began


class _Watch:
    """Wall and CPU time of this process."""

    def __init__(self) -> None:
        self._began_ns = time.monotonic_ns()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {"began": self._began_ns, "wall_ms": wall * 1e3, "cpu_ms": cpu * 1e3}


@asynccontextmanager
async def _serving(push_interval: float) -> AsyncIterator[tuple[Machine, Mux]]:
    machine = small_machine()
    async with Mux(machine, bind="tcp://127.0.0.1:0", push_interval=push_interval) as mux:
        yield machine, mux


async def _connect(stack: AsyncExitStack, addr: str, followers: int, shared: bool) -> list[Client]:
    """So many clients, that share what they can or stand for a program each."""
    clients = []
    for _ in range(followers):
        client = Client(addr, transport=None if shared else ZmqTransport())
        clients.append(await stack.enter_async_context(client))
    return clients


def _waits(clients: Sequence[Client], goal: int) -> list[Any]:
    return [client.net_mach.when_time({"C": goal}) for client in clients]


async def _until(waits: Sequence[Any]) -> None:
    missing = len(waits)
    try:
        async with asyncio.timeout(PATIENCE_S):
            for wait in waits:
                await wait
                missing -= 1
    except TimeoutError:
        raise BenchError(f"{missing} of {len(waits)} clients never converged") from None
