"""The source above a sidecar, and the followers below it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from contextlib import AsyncExitStack
from typing import Any

from amzmq import Client, Machine, Mux, State
from amzmq.net import ZmqTransport
from bench.channel import Channel
from bench.scenario import SCHEMA, START

EQUAL_S = 30.0


def machine_id(number: int) -> str:
    return f"bench{number}"


async def source(channel: Channel, machines: int, changes_per_s: float) -> None:
    """Serves machines, and changes them in turn when it is told to."""
    made = [
        Machine({**SCHEMA, "Marked": State()}, id=machine_id(number)) for number in range(machines)
    ]
    for machine in made:
        machine.add(*START)
    async with Mux(made, bind="tcp://127.0.0.1:0") as mux:
        channel.send(addr=mux.addr)
        loading: asyncio.Task[None] | None = None
        while "end" not in (told := await channel.receive_async(EQUAL_S * 10)):
            if "load" in told:
                loading = asyncio.create_task(_load(made, changes_per_s))
                channel.send(loading=True)
            elif "mark" in told:
                for machine in made:
                    machine.add("Marked")
            elif loading is not None:
                loading.cancel()
                await asyncio.wait([loading])
                channel.send(clocks={machine.id: machine.clock() for machine in made})


async def _load(machines: list[Machine], changes_per_s: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    for machine in itertools.cycle(machines):
        machine.toggle("C")
        due += 1 / changes_per_s
        await asyncio.sleep(max(0.0, due - loop.time()))


async def followers(channel: Channel, addr: str, machines: int, followers: int) -> None:
    """Follow the machines below the sidecar, each as a program of its own would."""
    ids = itertools.cycle(machine_id(number) for number in range(machines))
    async with AsyncExitStack() as stack:
        clients: list[Client] = []
        marking: asyncio.Task[None] | None = None
        while "end" not in (told := await channel.receive_async(EQUAL_S * 10)):
            if "connect" in told:
                for machine in itertools.islice(ids, followers):
                    client = Client(addr, machine=machine, transport=ZmqTransport())
                    clients.append(await stack.enter_async_context(client))
                channel.send(connected=True)
            elif "watch" in told:
                marking = asyncio.create_task(_tell_marked(channel, clients))
                channel.send(watching=True)
            elif "compare" in told:
                assert marking is not None
                await marking
                channel.send(states=await _compare(clients, told["compare"]))


async def _tell_marked(channel: Channel, clients: list[Client]) -> None:
    await asyncio.gather(*(client.net_mach.when("Marked") for client in clients))
    channel.send(at=time.monotonic())


async def _compare(clients: list[Client], clocks: dict[str, Any]) -> list[str]:
    """For each client ``equal``, or what it has instead."""
    compared = []
    for client in clients:
        net = client.net_mach
        wanted = clocks[net.remote_id]
        with contextlib.suppress(TimeoutError):  # what it has then is told
            async with asyncio.timeout(EQUAL_S):
                await net.when_time(wanted)
        clock = net.clock()
        compared.append("equal" if clock == wanted else str(clock))
    return compared
