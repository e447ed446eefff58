"""Many followers on the daemon's host: what they cost at rest, and what its death costs them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from amzmq.machine import Machine, State
from amzmq.rpc import Client, Mux
from amzmq.sidecar import beside
from amzmq.sidecar.config import RelayConfig
from amzmq.sidecar.directory import Directory, Exposed
from amzmq.sidecar.host import Host
from amzmq.sidecar.output import Outlet
from amzmq.sidecar.processes import Children
from amzmq.sidecar.relaying import RelayJob
from tests.sidecar.rig import PATIENCE_S, daemon

SCHEMA = {"Open": State(), "Marked": State()}
ANY = "tcp://127.0.0.1:0"


@pytest.mark.parametrize(
    ("bind", "seconds"),
    [
        ("ipc:///run/app.sock", beside.HEARTBEAT_S),
        ("tcp://127.0.0.1:7701", beside.HEARTBEAT_S),
        ("tcp://10.0.0.2:7701", beside.REMOTE_HEARTBEAT_S),
    ],
)
def test_hearts_beat_more_rarely_where_the_kernel_tells_who_is_gone(
    bind: str, seconds: float
) -> None:
    assert beside.HEARTBEAT_S > beside.REMOTE_HEARTBEAT_S
    assert beside.heartbeat(bind) == seconds


@asynccontextmanager
async def shown() -> AsyncIterator[tuple[Exposed, Exposed]]:
    """The daemon's own machine, and one that it relays."""
    directory = Directory("test")
    life = await directory.open(Machine(SCHEMA, id="life"), ANY)
    host = Host(directory, Children(), Outlet(1), Outlet(2))
    async with Mux(Machine(SCHEMA, id="far")) as source, asyncio.timeout(PATIENCE_S):
        job = RelayJob("edge", RelayConfig((source.addr,), ANY), host)
        await job.start()
        await job.mach.when("Ready")
        relayed = directory.get("far")
        assert relayed is not None
        yield life, relayed
        await job.stop()
    await directory.withdraw(life)


async def test_followers_on_this_host_are_told_to_beat_rarely() -> None:
    async with shown() as both:
        for each in both:
            async with Client(each.addr, machine=each.id) as follower:
                assert follower.heartbeat == beside.HEARTBEAT_S


async def test_what_many_followers_hear_is_made_once() -> None:
    async with shown() as (_, relayed), AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(Client(relayed.addr, machine="far"))
        assert relayed.mux is not None
        assert len(relayed.clients) == 5
        assert relayed.mux.metrics()["streams"] == 1


@asynccontextmanager
async def changing(*machines: Machine) -> AsyncIterator[None]:
    """Change them in turn, all the time."""

    async def change() -> None:
        for machine in itertools.cycle(machines):
            machine.toggle("Open")
            await asyncio.sleep(0.001)

    task = asyncio.create_task(change())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_followers_of_a_daemon_that_is_killed_and_started_again_end_equal(
    tmp_path: Path,
) -> None:
    machines = [Machine(SCHEMA, id=f"far{n}") for n in range(3)]
    bind = f"ipc://{tmp_path}/edge.sock"
    async with Mux(machines) as source, AsyncExitStack() as stack:
        jobs = f'[jobs.edge]\nkind = "relay"\nbind = "{bind}"\nupstream = ["{source.addr}"]\n'
        async with changing(*machines):
            async with daemon(tmp_path, jobs) as first:
                await first.http.when("sidecar", "Ready")
                followers = [Client(bind, machine=machine.id) for machine in machines * 2]
                async with asyncio.timeout(PATIENCE_S):
                    for follower in followers:
                        await stack.enter_async_context(follower)
                first.process.kill()
                await first.ended()
            await stack.enter_async_context(daemon(tmp_path, jobs))
            for machine in machines:
                machine.add("Marked")
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(it.net_mach.when("Marked") for it in followers))
        async with asyncio.timeout(PATIENCE_S):
            for machine, follower in zip(machines * 2, followers, strict=True):
                await follower.net_mach.when_time(machine.clock())
                assert follower.net_mach.clock() == machine.clock()
        # Before the daemon, which says goodbye to who is still there.
        for follower in followers:
            await follower.stop()
