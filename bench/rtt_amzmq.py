"""A remote mutation: source and client on asyncio, in two processes."""

from __future__ import annotations

import time

from amzmq import Client, Mux, Result
from bench.channel import Channel
from bench.latency import RateWatch, in_flight, report_latencies
from bench.report import BenchError
from bench.scenario import small_machine


async def source(channel: Channel) -> None:
    """Serves the machine until told to stop."""
    machine = small_machine()
    async with Mux(machine, bind="tcp://127.0.0.1:0") as mux:
        channel.send(addr=mux.addr)
        await channel.receive_async()
        channel.send(state=list(machine.time()))
        await channel.receive_async()


async def client(channel: Channel, calls: int, warm_up: int) -> None:
    """Adds H one time after the other; it is a multi state, so each add is a change."""
    latencies = []
    now = time.perf_counter_ns
    addr = (await channel.receive_async())["addr"]
    async with Client(addr, name="bench") as c:
        replica = c.net_mach
        add = replica.add
        for _ in range(warm_up):
            await add("H")
        before = replica.tick("H")
        for _ in range(calls):
            start = now()
            result = await add("H")
            latencies.append(now() - start)
            if result != Result.EXECUTED:
                raise BenchError(f"add H: {result}")
        if replica.tick("H") != before + 2 * calls:
            raise BenchError(f"H went from {before} to {replica.tick('H')} in {calls} calls")
        report_latencies(channel, latencies, states=[list(replica.time())])
        await channel.receive_async()


async def pipelined(channel: Channel, calls: int, warm_up: int, window: int) -> None:
    """Keeps so many adds of H in flight."""
    addr = (await channel.receive_async())["addr"]
    async with Client(addr, name="bench") as c:
        replica = c.net_mach
        await in_flight(lambda: replica.add("H"), warm_up, window)
        before, watch = replica.tick("H"), RateWatch()
        await in_flight(lambda: replica.add("H"), calls, window)
        if replica.tick("H") != before + 2 * calls:
            raise BenchError(f"H went from {before} to {replica.tick('H')} in {calls} calls")
        watch.report(channel, calls, states=[list(replica.time())])
        await channel.receive_async()
