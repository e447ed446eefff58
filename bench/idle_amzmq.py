"""A source and its followers at rest."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

from amzmq import Client, Mux
from amzmq.net import ZmqTransport
from bench.channel import Channel
from bench.scenario import small_machine

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


def resident_kib() -> float:
    """Memory of this process that is in RAM."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KIB


async def source(channel: Channel, window_s: float, heartbeat: float) -> None:
    """Serves, and does nothing but beat."""
    async with Mux(small_machine(), bind="tcp://127.0.0.1:0", heartbeat=heartbeat) as mux:
        channel.send(addr=mux.addr)
        await _rest(channel, window_s)


async def followers(channel: Channel, followers: int, window_s: float, shared: bool) -> None:
    """So many followers, that wait."""
    addr = (await channel.receive_async())["addr"]
    async with AsyncExitStack() as stack:
        # What the first one loads and allocates is not repeated for the others.
        await stack.enter_async_context(_client(addr, shared))
        channel.send(ready=True)
        await channel.receive_async()
        channel.send(memory_kib=resident_kib())
        await channel.receive_async()
        for _ in range(followers - 1):
            await stack.enter_async_context(_client(addr, shared))
        channel.send(ready=True)
        await measure(channel, window_s)
        await channel.receive_async()


def _client(addr: str, shared: bool) -> Client:
    """A replica that shares what it can, or stands for a program of its own."""
    return Client(addr, transport=None if shared else ZmqTransport())


async def _rest(channel: Channel, window_s: float) -> None:
    await channel.receive_async()
    channel.send(memory_kib=resident_kib())
    await measure(channel, window_s)
    await channel.receive_async()


async def measure(channel: Channel, window_s: float) -> None:
    """What a while of rest costs, when the parent says so."""
    await channel.receive_async()
    memory = resident_kib()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(window_s)
    spent_us = (time.process_time() - cpu) * 1e6
    channel.send(memory_kib=memory, cpu_us_per_s=spent_us / (time.perf_counter() - wall))
