"""Bytes of our operations, at the client's end of its two connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from amzmq import Client, Machine, Mux, State
from amzmq.net import SocketOptions, ZmqTransport
from bench import traffic
from bench.bytes import ADD, CONNECT, LOOP
from bench.bytes_loop import VALUES, Work
from bench.channel import PATIENCE_S, Channel
from bench.report import BenchError
from bench.scenario import SCHEMA, small_machine

Counted = dict[str, float]
PAYLOAD_BYTES = 64
BEAT_S = 0.05
# Nothing that comes by the clock gets between.
QUIET_S = 600.0

LOOP_SCHEMA = {
    "Start": State(),
    "CallOp": State(multi=True, require="Start"),
    "Event": State(multi=True, require="Start"),
    **{value: State(remove=[other for other in VALUES if other != value]) for value in VALUES},
}


async def play(channel: Channel, times: int, beats_s: float) -> None:
    """Do everything, and tell what it took."""
    operations: dict[str, Counted] = {}
    async with asyncio.timeout(PATIENCE_S - 2):
        await _connecting(operations)
        await _operating(operations, times)
        await _beating(operations, beats_s)
        await _looping(operations, times)
    channel.send(operations=operations)
    await channel.receive_async()


def _mux(machine: Machine, heartbeat: float = QUIET_S) -> Mux:
    return Mux(machine, bind="tcp://127.0.0.1:0", heartbeat=heartbeat, transport=_transport())


def _client(mux: Mux, **more: Any) -> Client:
    return Client(mux.addr, name="bench", transport=_transport(), **more)


def _transport() -> ZmqTransport:
    return ZmqTransport(SocketOptions(heartbeat_interval_ms=0))


def _ports(mux: Mux) -> set[int]:
    return {int(addr.rpartition(":")[2]) for addr in (mux.addr, mux.feed_addr)}


async def counted(ports: set[int], times: int, operate: Callable[[], Awaitable[object]]) -> Counted:
    """Operate so often; bytes of one, in the mean."""
    before = await traffic.settled(ports)
    for _ in range(times):
        await operate()
    sent, received = await traffic.settled(ports) - before
    return {"sent": sent / times, "received": received / times}


async def _connecting(operations: dict[str, Counted]) -> None:
    knowledge: Mapping[str, dict[str, Any]] = {
        CONNECT: {},
        f"{CONNECT}, schema known": {"schema": SCHEMA},
    }
    for case, known in knowledge.items():
        async with _mux(small_machine()) as mux, _client(mux, **known):
            sent, received = await traffic.settled(_ports(mux))
            operations[case] = {"sent": sent, "received": received}


async def _operating(operations: dict[str, Counted], times: int) -> None:
    machine = small_machine()
    async with _mux(machine) as mux, _client(mux) as client:
        replica, ports = client.net_mach, _ports(mux)
        payloads = client.payloads("bench")

        async def add_ns() -> None:
            goal = replica.tick("H") + 2
            replica.add_ns("H")
            await replica.when_time({"H": goal})

        async def update() -> None:
            machine.add("H")
            await replica.when_time({"H": machine.tick("H")})

        async def payload() -> None:
            mux.send_payload("bench", bytes(PAYLOAD_BYTES))
            await anext(payloads)

        operations[ADD] = await counted(ports, times, lambda: replica.add("H"))
        operations["add without a reply"] = await counted(ports, times, add_ns)
        operations["update"] = await counted(ports, times, update)
        operations[f"payload of {PAYLOAD_BYTES} B"] = await counted(ports, times, payload)


async def _beating(operations: dict[str, Counted], beats_s: float) -> None:
    """By the clock: as many beats as there is time for."""
    async with _mux(small_machine(), BEAT_S) as mux, _client(mux):
        before, began = traffic.of_process(_ports(mux)), asyncio.get_running_loop().time()
        await asyncio.sleep(beats_s)
        sent, received = traffic.of_process(_ports(mux)) - before
        beats = (asyncio.get_running_loop().time() - began) / BEAT_S
    operations["heartbeat"] = {"sent": sent / beats, "received": received / beats}


async def _looping(operations: dict[str, Counted], times: int) -> None:
    machine, work = Machine(LOOP_SCHEMA, id="worker"), Work()

    def call_op(event: Any) -> None:
        machine.add(work.call(event.args["op"]), "Event")

    machine.bind({"CallOpState": call_op})
    # From its first time on, a multi state moves by two each time.
    machine.add("Start", work.value, "Event")
    async with _mux(machine) as mux, _client(mux) as client:
        replica, ports = client.net_mach, _ports(mux)
        calls = client.call_count

        async def once() -> None:
            event = replica.when_time({"Event": replica.tick("Event") + 2})
            value = replica.switch(*VALUES)
            await replica.add("CallOp", op=value)
            await event

        operations[LOOP] = await counted(ports, times, once)
        operations[LOOP]["calls"] = (client.call_count - calls) / times
    if (work.done, work.wrong) != (times, 0):
        raise BenchError(f"{LOOP}: of {times} operations {work.done} were right")
