"""The relay job: a daemon shows and serves machines of another process, whose life it survives."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from amzmq.errors import NotConnected
from amzmq.machine import Machine, Result, State
from amzmq.rpc import Client, Mux
from amzmq.sidecar.config import RelayConfig
from amzmq.sidecar.directory import Directory
from amzmq.sidecar.host import Host
from amzmq.sidecar.output import Outlet
from amzmq.sidecar.processes import Children
from amzmq.sidecar.relaying import RelayJob
from tests.examples.warm import Process, start
from tests.sidecar.rig import PATIENCE_S, PYTHON, Daemon, daemon, environment, started

SCHEMA = {"Open": State(remove="Closed"), "Closed": State(remove="Open")}

SOURCE = """
import asyncio, sys
from amzmq import Machine, State
from amzmq.rpc import Mux

async def main(bind, feed, active):
    far = Machine({"Open": State(remove="Closed"), "Closed": State(remove="Open")}, id="far")
    near = Machine({"Lit": State()}, id="near")
    far.add(active)
    async with Mux([far, near], bind=bind, feed=feed) as mux:
        print(mux.addr, mux.feed_addr, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""

ANY = "tcp://127.0.0.1:0"


def relay(addr: str, more: str = "") -> str:
    return f'[jobs.edge]\nkind = "relay"\nupstream = ["{addr}"]\n{more}\n'


@asynccontextmanager
async def source(
    bind: str = ANY, feed: str = ANY, active: str = "Closed"
) -> AsyncIterator[tuple[str, str, Process]]:
    """The machines ``far`` and ``near`` in a process of their own, which can be killed."""
    process = await start(
        *(PYTHON, "-W", "error", "-c", SOURCE, bind, feed, active), cwd=None, env=environment()
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            addr, feed_addr = (await process.stdout.readline()).decode().split()
        yield addr, feed_addr, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def killed(process: Process) -> None:
    process.kill()
    async with asyncio.timeout(PATIENCE_S):
        await process.wait()


async def listed(running: Daemon, id: str) -> Any:
    machines = (await running.http.get("/machines"))["machines"]
    return next(machine for machine in machines if machine["id"] == id)


async def metric(running: Daemon, name: str, **labels: str) -> list[float]:
    page = (await running.http.ask("GET", "/metrics")).body.decode()
    return [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


async def test_machines_elsewhere_are_shown_followed_and_changed_through_it(tmp_path: Path) -> None:
    async with source() as (addr, _, _), daemon(tmp_path, relay(addr)) as running:
        await running.http.when("sidecar", "Ready")
        far = await listed(running, "far")
        assert (far["is_local"], far["stale"], far["active"]) == (False, False, ["Closed"])
        assert (await listed(running, "near"))["addr"] == far["addr"] != addr
        async with (
            asyncio.timeout(PATIENCE_S),
            Client(far["addr"], machine="far") as below,
            Client(addr, machine="far") as beside,
        ):
            answer = await running.http.post("/machines/far/add", {"states": ["Open"]})
            assert (answer.status, answer.json["id"], answer.json["active"]) == (
                HTTPStatus.OK,
                "far",
                ["Open"],
            )
            await below.net_mach.when("Open")
            await beside.net_mach.when("Open")
            assert await metric(running, "amzmq_clients", machine="far") == [1]
            assert await below.net_mach.add("Closed") is Result.EXECUTED
            await running.http.when("far", "Closed")
        assert sum(await metric(running, "amzmq_mux_hellos_total")) >= 1
        assert await metric(running, "amzmq_machine_stale", machine="far") == [0]


async def test_only_the_machines_that_are_named_are_relayed(tmp_path: Path) -> None:
    async with source() as (addr, _, _):
        async with daemon(tmp_path, relay(addr, 'machines = ["near"]')) as running:
            await running.http.when("sidecar", "Ready")
            machines = (await running.http.get("/machines"))["machines"]
            assert [machine["id"] for machine in machines] == ["sidecar", "near"]


async def test_a_killed_upstream_is_stale_and_served_until_it_is_back(tmp_path: Path) -> None:
    async with source() as (addr, feed, process), daemon(tmp_path, relay(addr)) as running:
        await running.http.when("sidecar", "Ready")
        served = (await listed(running, "far"))["addr"]
        await killed(process)
        await running.said("it is stale")
        far = await running.http.get("/machines/far")
        assert (far["stale"], far["active"]) == (True, ["Closed"])
        assert await metric(running, "amzmq_machine_stale", machine="far") == [1]
        assert (await running.http.get("/readyz")) == {"ready": True, "stale": ["far", "near"]}
        answer = await running.http.post("/machines/far/add", {"states": ["Open"]})
        assert (answer.status, answer.json["retry"]) == (HTTPStatus.SERVICE_UNAVAILABLE, True)
        async with asyncio.timeout(PATIENCE_S), Client(served, machine="far") as newcomer:
            assert newcomer.net_mach.is_("Closed")
            async with source(addr, feed, "Open"):
                await newcomer.net_mach.when("Open")
                await running.http.when("far", "Open")
                assert (await listed(running, "far"))["stale"] is False
                assert "far" not in (await running.http.get("/readyz"))["stale"]
                answer = await running.http.post("/machines/far/add", {"states": ["Closed"]})
                assert answer.status == HTTPStatus.OK
                await newcomer.net_mach.when("Closed")


async def test_it_is_not_ready_before_its_upstream_was_there(tmp_path: Path) -> None:
    async with source() as (addr, feed, process):
        await killed(process)
    async with daemon(tmp_path, relay(addr)) as running:
        assert (await running.http.ask("GET", "/healthz")).status == HTTPStatus.OK
        unready = await running.http.ask("GET", "/readyz")
        assert unready.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert (await running.http.ask("GET", "/machines/far")).status == HTTPStatus.NOT_FOUND
        async with source(addr, feed):
            await running.http.when("sidecar", "Ready")
            assert (await running.http.ask("GET", "/readyz")).status == HTTPStatus.OK
            assert (await listed(running, "far"))["active"] == ["Closed"]


async def test_a_check_tells_it_as_something_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(relay("tcp://127.0.0.1:7701", 'machines = ["far"]'), encoding="utf-8")
    async with started(tmp_path, "--config", str(path), "--check") as told:
        assert await told.ended() == os.EX_OK
        assert told.err == []
        line = next(line for line in told.out if line.startswith("edge: relay "))
        assert "tcp://127.0.0.1:7701" in line
    async with started(tmp_path, "--config", str(path), "--check", "--json") as told:
        assert await told.ended() == os.EX_OK
        assert json.loads("\n".join(told.out))["jobs"]["edge"]["bind"] == ANY


# In this process.


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    directory = Directory("test")
    life = await directory.open(Machine({"Ready": State()}, id="test"), ANY)
    yield Host(directory, Children(), Outlet(1), Outlet(2))
    assert list(directory) == [life]
    await directory.withdraw(life)


@asynccontextmanager
async def job(host: Host, *upstream: str, bind: str = ANY) -> AsyncIterator[RelayJob]:
    edge = RelayJob("edge", RelayConfig(upstream, bind), host)
    await edge.start()
    try:
        yield edge
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await edge.stop()


async def test_a_machine_of_an_id_that_is_shown_already_fails_it(host: Host) -> None:
    async with Mux(Machine(SCHEMA, id="test")) as mux, job(host, mux.addr) as edge:
        async with asyncio.timeout(PATIENCE_S):
            await edge.mach.when("Failed")
        assert edge.mach.is_("Exception")
        assert [each.id for each in host.directory] == ["test"]


async def test_an_address_that_somebody_else_has_fails_it(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with Mux(Machine(SCHEMA, id="far")) as mux, job(host, mux.addr, bind=mux.addr) as edge:
        async with asyncio.timeout(PATIENCE_S):
            await edge.mach.when("Failed")
        assert host.directory.get("far") is None


async def test_its_machines_are_sent_no_payloads_from_here(host: Host) -> None:
    async with Mux(Machine(SCHEMA, id="far")) as mux, job(host, mux.addr) as edge:
        async with asyncio.timeout(PATIENCE_S):
            await edge.mach.when("Ready")
        exposed = host.directory.get("far")
        assert exposed is not None
        with pytest.raises(NotConnected, match="'n': far is a replica"):
            exposed.send_payload("n", 1)


async def test_a_source_that_came_back_with_fewer_states_is_shown_as_it_is_now(host: Host) -> None:
    mux = Mux(Machine({**SCHEMA, "Old": State()}, id="far"))
    await mux.start()
    addr, feed = mux.addr, mux.feed_addr
    async with job(host, addr) as edge:
        async with asyncio.timeout(PATIENCE_S):
            await edge.mach.when("Ready")
        former = host.directory.get("far")
        assert former is not None
        await mux.stop()
        async with Mux(Machine(SCHEMA, id="far"), addr, feed), asyncio.timeout(PATIENCE_S):
            async for entry in former.journal.read("", PATIENCE_S):
                assert entry is not None  # and it ends, as another one takes its place
            present = host.directory.get("far")
            assert present is not None
            assert present.machine.state_names == ("Open", "Closed", "Exception")


async def test_it_ends_while_it_still_looks_for_its_upstream(host: Host) -> None:
    async with Mux(Machine(SCHEMA)) as mux:
        addr = mux.addr
    async with job(host, addr) as edge:
        assert edge.mach.is_("Starting")
    assert edge.mach.is_disposed
