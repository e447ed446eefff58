"""What an operator asks of the daemon: probes, metrics, logs, systemd, reload, a good end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from amzmq.rpc import Client
from tests.sidecar.rig import (
    PATIENCE_S,
    Daemon,
    config_text,
    daemon,
    heard,
    started,
)

SLEEPER = '[jobs.app]\nkind = "exec"\ncommand = ["sleep", "1000"]\n'

MODULE = """
from amzmq import Machine, State

def make():
    door = Machine({"Open": State(remove="Closed"), "Closed": State(remove="Open")}, id="door")
    door.add("Closed")
    return door
"""

DOOR = '[jobs.front]\nkind = "attach"\ntarget = "doors:make"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "doors.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


@asynccontextmanager
async def ready(folder: Path, jobs: str, settings: str = "", **env: str) -> AsyncIterator[Daemon]:
    async with daemon(folder, jobs, settings, **env) as running:
        await running.http.when("sidecar", "Ready")
        yield running


async def test_all_machines_are_served_its_own_too(folder: Path) -> None:
    async with ready(folder, SLEEPER + DOOR) as running:
        listed = (await running.http.get("/machines"))["machines"]
        assert [machine["id"] for machine in listed] == ["sidecar", "app", "door"]
        for machine in listed:
            async with (
                asyncio.timeout(PATIENCE_S),
                Client(machine["addr"], machine=machine["id"]) as client,
            ):
                assert client.net_mach.active_states() != []
                if machine["id"] == "door":
                    await client.net_mach.add("Open")
        assert (await running.http.get("/machines/door"))["active"] == ["Open"]


async def test_probes_tell_life_and_readiness(folder: Path) -> None:
    slow = SLEEPER + 'ready = { line = "never" }\n'
    async with daemon(folder, slow) as running:
        assert (await running.http.ask("GET", "/healthz")).status == HTTPStatus.OK
        answer = await running.http.ask("GET", "/readyz")
        assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert answer.headers["content-type"] == "application/problem+json"
    async with ready(folder, SLEEPER) as running:
        assert (await running.http.ask("GET", "/readyz")).status == HTTPStatus.OK


async def test_metrics_are_there_for_every_part(folder: Path) -> None:
    async with ready(folder, SLEEPER + DOOR) as running:
        addr = (await running.http.get("/machines/door"))["addr"]
        async with asyncio.timeout(PATIENCE_S), Client(addr, "m", machine="door") as client:
            await client.net_mach.add("Open")
            answer = await running.http.ask("GET", "/metrics")
    text = answer.body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert text.count("# TYPE amzmq_mux_hellos_total") == 1

    def value(name: str, **labels: str) -> float:
        samples = families[name].samples
        return next(s.value for s in samples if labels.items() <= s.labels.items())

    assert value("amzmq_machines") == 3
    assert value("amzmq_machine_ticks", machine="door") == 3
    assert value("amzmq_state_active", machine="door", state="Open") == 1
    assert value("amzmq_clients", machine="door") == 1
    assert value("amzmq_client_lag_messages", machine="door", client="rc-m") >= 0
    assert value("amzmq_mux_requests", mux="rm-sidecar") == 1
    assert value("amzmq_mux_streams", mux="rm-sidecar") >= 1
    assert value("amzmq_job_starts", job="app") == 1
    assert value("amzmq_loop_delay_seconds") >= 0
    assert value("process_open_fds") > 0


async def test_every_line_of_its_log_is_json_if_that_is_wished(folder: Path) -> None:
    async with ready(folder, SLEEPER) as running:
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
    told = [json.loads(line) for line in running.err]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in told)
    assert any(line["message"].startswith("SIGTERM") for line in told)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE_S)
        yield sock


async def _told(manager: socket.socket, what: str) -> dict[str, str]:
    """The next message to the service manager that tells this."""
    while True:
        message = (await asyncio.to_thread(manager.recv, 4096)).decode()
        told = dict(line.split("=", 1) for line in message.split("\n"))
        if what in told:
            return told


async def test_systemd_is_told_of_ready_reload_and_end_and_that_it_lives(
    folder: Path, manager: socket.socket
) -> None:
    env = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"}
    async with daemon(folder, SLEEPER, **env) as running:
        assert (await _told(manager, "READY"))["STATUS"] == "1 jobs"
        await _told(manager, "WATCHDOG")
        await _told(manager, "WATCHDOG")
        running.signal(signal.SIGHUP)
        assert "MONOTONIC_USEC" in await _told(manager, "RELOADING")
        await _told(manager, "READY")
        running.signal(signal.SIGTERM)
        await _told(manager, "STOPPING")
        assert await running.ended() == 0


async def test_a_watchdog_of_another_process_is_not_fed(
    folder: Path, manager: socket.socket
) -> None:
    env = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    async with daemon(folder, SLEEPER, **env) as running:
        await _told(manager, "READY")
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
    manager.setblocking(False)
    messages = []
    try:
        while True:
            messages.append(manager.recv(4096))
    except BlockingIOError:
        assert not any(b"WATCHDOG" in message for message in messages)


@pytest.mark.parametrize("bind", ["", 'bind = "tcp://127.0.0.1:0"\n'], ids=["shared", "its own"])
async def test_terminating_it_tells_the_last_changes_before_goodbye(
    folder: Path, bind: str
) -> None:
    async with ready(folder, SLEEPER + bind + DOOR) as running:
        addr = (await running.http.get("/machines/app"))["addr"]
        own = (await running.http.get("/machines/sidecar"))["addr"]
        async with (
            asyncio.timeout(PATIENCE_S),
            Client(addr, machine="app", reconnect=False) as app,
            Client(own, reconnect=False) as sidecar,
            running.http.events("app") as events,
        ):
            running.signal(signal.SIGTERM)
            await sidecar.net_mach.when("Draining")
            await app.net_mach.when("Exited")
            assert await running.ended() == 0
            told = await heard(events, lambda event: "Exited" in event.data.get("activated", []))
            assert told.kind == "change"
            await app.mach.when_not("Ready")


async def test_draining_may_be_asked_for_by_who_follows_it(folder: Path) -> None:
    async with ready(folder, SLEEPER) as running:
        answer = await running.http.post("/machines/sidecar/add", {"states": ["Draining"]})
        assert answer.status == HTTPStatus.OK
        refused = await running.http.post("/machines/sidecar/remove", {"states": ["Start"]})
        assert refused.status == HTTPStatus.CONFLICT
        assert await running.ended() == 0


async def _reloaded(running: Daemon, jobs: str, settings: str = "") -> None:
    text = config_text(running.config.parent, jobs, settings)
    running.config.write_text(text, encoding="utf-8")
    before = (await running.http.get("/machines/sidecar"))["clock"]["Reloading"]
    async with running.http.events("sidecar") as events:
        running.signal(signal.SIGHUP)
        await heard(events, lambda e: e.data.get("ticks", {}).get("Reloading", 0) == before + 2)


async def test_reloading_changes_what_has_changed_and_nothing_else(folder: Path) -> None:
    jobs = SLEEPER + SLEEPER.replace("app", "changed") + SLEEPER.replace("app", "gone")
    async with ready(folder, jobs) as running:
        kept = await running.http.get("/machines/app")
        await _reloaded(
            running, SLEEPER + SLEEPER.replace("app", "changed").replace("1000", "999") + DOOR
        )
        listed = (await running.http.get("/machines"))["machines"]
        assert {machine["id"] for machine in listed} == {"sidecar", "app", "changed", "door"}
        assert (await running.http.get("/machines/app"))["clock"] == kept["clock"]
        assert (await running.http.get("/machines/app"))["addr"] == kept["addr"]
        await running.http.when("changed", "Ready")
        await running.http.when("sidecar", "Ready")


async def test_a_mistake_in_a_reload_leaves_everything_as_it_is(folder: Path) -> None:
    async with ready(folder, SLEEPER) as running:
        await _reloaded(running, SLEEPER + "grace = -1\n")
        told = json.loads(await running.said("jobs.app.grace"))
        assert "everything stays as it is" in told["message"]
        await running.http.when("sidecar", "Ready,Exception")
        await _reloaded(running, SLEEPER)
        await running.http.when("sidecar", "Ready", without="Exception")


async def test_the_level_of_its_log_changes_with_a_reload(folder: Path) -> None:
    async with ready(folder, SLEEPER) as running:
        await _reloaded(running, SLEEPER, 'log_level = "error"')
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
        assert "draining" not in running.err[-1]


async def test_a_second_one_at_an_address_is_told_who_holds_it(folder: Path) -> None:
    address = f"ipc://{folder}/door.sock"
    jobs = DOOR + f'bind = "{address}"\n'
    second = folder / "second.toml"
    text = config_text(folder, jobs).replace("http.sock", "other.sock")
    second.write_text(text, encoding="utf-8")
    async with ready(folder, jobs) as running:
        async with started(folder, "--config", str(second), "--name", "late") as late:
            assert await late.ended() == 2
        complaint = late.err[-1]
        assert address in complaint
        assert f"the sidecar 'sidecar', pid {running.process.pid}" in complaint
        await running.http.when("sidecar", "Ready")
    # A file that is left behind by one that was killed is no hindrance.
    async with ready(folder, jobs) as running:
        running.process.kill()
        await running.ended()
    async with ready(folder, jobs):
        pass


async def test_the_address_of_its_http_is_one_sidecars_as_well(folder: Path) -> None:
    async with ready(folder, SLEEPER):
        async with started(folder, "--config", str(folder / "sidecar.toml")) as late:
            assert await late.ended() == 2
        assert "http.sock" in late.err[-1]
        assert "pid" in late.err[-1]


async def test_without_a_folder_for_lock_files_it_runs_all_the_same(folder: Path) -> None:
    jobs = DOOR + f'bind = "ipc://{folder}/door.sock"\n'
    async with ready(folder, jobs, XDG_RUNTIME_DIR="/proc", TMPDIR="/proc") as running:
        assert "no lock file" in await running.said(f"ipc://{folder}/door.sock")


async def test_what_cannot_start_ends_what_has(folder: Path) -> None:
    jobs = SLEEPER + '[jobs.b]\nkind = "attach"\ntarget = "nowhere:machine"\n'
    async with started(
        folder, "--config", str(_written(folder, config_text(folder, jobs)))
    ) as running:
        assert await running.ended() == 2
    assert "nowhere:machine: ModuleNotFoundError" in running.err[-1]
    assert not (folder / "http.sock").exists()


def _written(folder: Path, text: str) -> Path:
    path = folder / "sidecar.toml"
    path.write_text(text, encoding="utf-8")
    return path


async def test_applications_find_the_interface_in_their_environment(folder: Path) -> None:
    jobs = '[jobs.app]\nkind = "exec"\ncommand = ["sh", "-c", "echo at $AMZMQ_HTTP; sleep 1000"]\n'
    async with ready(folder, jobs) as running:
        assert await running.said("at ", running.out) == f"at unix:{folder}/http.sock"
        mode = os.stat(folder / "http.sock").st_mode & 0o777
        assert mode == 0o600
