"""64 clients in 4 processes mutate one source at once: each acknowledged mutation counts once.

This module is also the program of the clients. 2 seconds by default; AMZMQ_SOAK=1 makes it 10.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from amzmq.machine import Machine, Result, State
from amzmq.rpc import Client, Mux

PROCESSES = 4
CLIENTS = 16
"""In each of the processes."""

AT_ONCE = 4
"""Calls that a client has in flight."""

SECONDS = 10.0 if os.environ.get("AMZMQ_SOAK") == "1" else 2.0
PATIENCE_S = 40.0
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(180)


# The program: 16 clients, each with a state of its own beside the one of all.


async def mutate(client: Client, own: str, seconds: float) -> int:
    """Add, again and again; how many times that was acknowledged."""
    acknowledged = 0
    net = client.net_mach

    async def keep_adding() -> None:
        nonlocal acknowledged
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            before = net.tick(own)
            assert await net.add(own, "All") == Result.EXECUTED
            assert net.tick(own) > before
            acknowledged += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(keep_adding())
    return acknowledged


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def heard(line: str) -> None:
    """Waits for the test to say this."""
    assert (await asyncio.to_thread(sys.stdin.readline)).strip() == line


async def crowd(addr: str, first: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        clients = {
            f"Own{n}": await stack.enter_async_context(Client(addr, f"c{n}"))
            for n in range(first, first + CLIENTS)
        }
        say("ready")
        await heard("go")
        counts = await asyncio.gather(
            *(mutate(client, own, seconds) for own, client in clients.items())
        )
        say(dict(zip(clients, counts, strict=True)))
        await heard("compare")
        for client in clients.values():
            await client.sync()
        say([_seen_by(client) for client in clients.values()])
        await heard("stop")


def _seen_by(client: Client) -> dict[str, Any]:
    net, metrics = client.net_mach, client.metrics()
    counted = {name: metrics[name] for name in ("mismatches", "connects", "calls_retried")}
    return {"time": list(net.time()), "queue_tick": net.queue_tick, **counted}


# The test.


class Crowd:
    """A process of clients, and the pipe to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, addr: str, first: int) -> Crowd:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-W", "error", "-m", __name__, addr, str(first), str(SECONDS)]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT
        )
        return cls(process)

    async def hear(self) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S + SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            _, complaints = await self._process.communicate()
            raise AssertionError(complaints.decode())
        return json.loads(line)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def stop(self) -> None:
        """Ends it, the hard way if the test failed before it could be told."""
        if self._process.returncode is not None:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, complaints = await self._process.communicate(b"stop\n")
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()
            raise
        assert complaints == b""
        assert self._process.returncode == 0


async def test_64_clients_at_once_lose_nothing_and_double_nothing() -> None:
    owns = [f"Own{n}" for n in range(PROCESSES * CLIENTS)]
    source = Machine({name: State(multi=True) for name in ("All", *owns)}, id="src")
    async with AsyncExitStack() as stack:
        mux = await stack.enter_async_context(Mux(source))
        crowds = []
        for first in range(0, PROCESSES * CLIENTS, CLIENTS):
            crowds.append(await Crowd.start(mux.addr, first))
            stack.push_async_callback(crowds[-1].stop)
        assert [await it.hear() for it in crowds] == ["ready"] * PROCESSES
        assert len(mux.clients) == PROCESSES * CLIENTS
        for it in crowds:
            it.tell("go")
        acknowledged: dict[str, int] = {}
        for it in crowds:
            acknowledged |= await it.hear()
        for it in crowds:
            it.tell("compare")
        replicas = [seen for it in crowds for seen in await it.hear()]
        check(source, acknowledged, replicas)


def check(source: Machine, acknowledged: dict[str, int], replicas: list[dict[str, Any]]) -> None:
    """Against what the clients were told. A multi state ticks by 1 first, and by 2 then."""
    total = sum(acknowledged.values())
    print(f"{total} mutations of {len(acknowledged)} clients, retried {_retried(replicas)}")
    assert min(acknowledged.values()) > 0
    assert source.clock(*acknowledged) == {own: 2 * n - 1 for own, n in acknowledged.items()}
    assert source.tick("All") == 2 * total - 1
    assert source.queue_tick == 1 + total
    for seen in replicas:
        assert seen["time"] == list(source.time())
        assert seen["queue_tick"] == source.queue_tick
        assert (seen["mismatches"], seen["connects"]) == (0, 1)


def _retried(replicas: list[dict[str, Any]]) -> int:
    return sum(seen["calls_retried"] for seen in replicas)


if __name__ == "__main__":
    asyncio.run(crowd(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
