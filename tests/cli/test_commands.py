from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from amzmq.cli.app import app
from amzmq.machine import Machine, State
from amzmq.rpc import Mux
from tests.cli.command import TIMEOUT, amzmq, interrupt, one_line, running

MODULE = """
from amzmq.machine import Machine, State


class Handlers:
    async def OpenState(self, e):
        pass

    def AlarmState(self, e):
        if e.args.get("user") == 42:
            e.machine.add("Known", event=e)


def make():
    machine = Machine(
        {
            "Start": State(),
            "Open": State(remove="Closed"),
            "Closed": State(remove="Open"),
            "Alarm": State(require="Open"),
            "Known": State(),
            "Bell": State(multi=True),
        },
        id="door",
        handlers=Handlers(),
    )
    machine.add("Start", "Closed")
    return machine


machine = make()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "door.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    serve = ("serve", "door:machine", "--bind", "tcp://127.0.0.1:0", "--json")
    with running(*serve, cwd=folder) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["id"] == "door"
        yield said["addr"]
        interrupt(process)
        assert process.returncode == 0


def test_states_are_changed_shown_and_waited_for(served: str) -> None:
    changed = amzmq("add", served, "Open", "Alarm", "--arg", "user=42", "--json")
    assert changed.returncode == 0, changed.stderr
    answer = json.loads(one_line(changed.stdout))
    assert answer["result"] == "executed"
    assert answer["clock"]["Open"] == answer["clock"]["Alarm"] == 1

    assert amzmq("when", served, "Known", "--timeout", "20").returncode == 0

    canceled = amzmq("add", served, "Alarm", "Closed")
    assert canceled.returncode == 1
    assert canceled.stdout.startswith("canceled ")

    shown = json.loads(one_line(amzmq("inspect", served, "--json").stdout))
    assert shown["id"] == "door"
    assert shown["states"]["Open"]["active"] is True
    assert shown["states"]["Alarm"]["require"] == ["Open"]

    late = amzmq("when", served, "Closed", "--timeout", "0.1")
    assert late.returncode == 1
    assert "Closed not active within 0.1 s" in one_line(late.stderr)


def invoke(*args: str) -> tuple[int, str, str]:
    """Run a command in this process, which is quicker: status and outputs."""
    result = CliRunner().invoke(app, args)
    return result.exit_code, result.stdout, result.stderr


def test_the_other_mutations(served: str) -> None:
    assert invoke("toggle", served, "Bell") == (0, "executed (Start:1 Closed:1 Bell:1)\n", "")
    assert invoke("remove", served, "Bell") == (0, "executed (Start:1 Closed:1)\n", "")
    assert invoke("set", served, "Open") == (0, "executed (Open:1)\n", "")
    assert invoke("when-not", served, "Closed", "Bell", "--timeout", "0") == (0, "(Open:1)\n", "")
    status, text, _ = invoke("inspect", served)
    assert status == 0
    assert text.startswith("0 Start\n")
    assert "1 Open\n" in text

    status, _, said = invoke("add", served, "Opne")
    assert status == 2
    assert "Opne" in one_line(said)


def test_ls_lists_the_machines_there(served: str) -> None:
    status, text, _ = invoke("ls", served)
    assert status == 0
    head, row = text.splitlines()
    assert head.split("  ")[0] == "ID"
    assert row.split() == ["door", "7", "2", "0", "0", "Start", "Closed"]

    status, text, _ = invoke("ls", served, "--json")
    (machine,) = json.loads(text)
    assert (machine["id"], machine["time_sum"]) == ("door", 2)
    assert machine["active"] == ["Start", "Closed"]


def test_ls_of_nobody_is_status_2() -> None:
    status, _, said = invoke("ls", "tcp://127.0.0.1:9", "--connect-timeout", "0.2")
    assert status == 2
    assert "tcp://127.0.0.1:9" in one_line(said)


@pytest.mark.parametrize(
    "line", ["add Bell", "inspect", "when Start", "when-not Open", "payloads", "watch"]
)
def test_each_command_takes_the_machine_that_is_named_and_no_other(served: str, line: str) -> None:
    command, *states = line.split()
    status, _, said = invoke(command, served, *states, "--machine", "gate")
    assert status == 2
    assert "no machine 'gate'" in one_line(said)


def test_the_machine_that_is_named_is_asked(served: str) -> None:
    assert invoke("add", served, "Bell", "--machine", "door")[0] == 0
    assert invoke("when", served, "Bell", "--machine", "door", "--timeout", "0")[0] == 0


async def test_when_waits_for_an_activation_with_the_arguments_given() -> None:
    machine = Machine({"Start": State(), "Bell": State(multi=True)}, id="bell")
    async with Mux(machine) as mux:
        with running("when", mux.addr, "Bell", "--arg", "user=42", "--timeout", "30") as waiting:
            await asyncio.wait_for(mux.mach.when("HasClients"), TIMEOUT)
            rings = 0
            while waiting.poll() is None:  # when it begins to wait cannot be seen from here
                rings += 1
                machine.add("Bell", user=41 if rings == 1 else 42)
                with suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(waiting.wait, 0.1)
            assert waiting.returncode == 0
        other = ("when", mux.addr, "Bell", "--arg", "user=43", "--timeout", "0.2")
        late = await asyncio.to_thread(amzmq, *other)
        assert late.returncode == 1
        assert "Bell not active with {'user': 43} within 0.2 s" in one_line(late.stderr)
    machine.dispose()


async def test_one_of_several_machines_is_named() -> None:
    door, lamp = (Machine({"Start": State(), "On": State()}, id=id) for id in ("door", "lamp"))
    async with Mux([door, lamp]) as mux:
        listed = await asyncio.to_thread(amzmq, "ls", mux.addr, "--json")
        assert [machine["id"] for machine in json.loads(listed.stdout)] == ["door", "lamp"]
        added = await asyncio.to_thread(amzmq, "add", mux.addr, "On", "--machine", "lamp")
        assert added.returncode == 0
        assert (door.is_("On"), lamp.is_("On")) == (False, True)
        default = await asyncio.to_thread(amzmq, "inspect", mux.addr, "--json")
        assert json.loads(default.stdout)["id"] == "door"
    door.dispose()
    lamp.dispose()


def test_nobody_there_is_status_2_in_one_line() -> None:
    # Port 9 is "discard": nobody serves a machine there.
    done = amzmq("inspect", "tcp://127.0.0.1:9", "--connect-timeout", "0.3")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no source at tcp://127.0.0.1:9" in one_line(done.stderr)


def test_an_address_that_is_taken_is_status_2_in_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addr = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = amzmq("serve", "door:make", "--bind", addr, cwd=folder)
    assert done.returncode == 2
    assert "is in use" in one_line(done.stderr)


def test_serve_ends_well_with_sigterm(folder: Path) -> None:
    with running("serve", "door:make", "--bind", "tcp://127.0.0.1:0", cwd=folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving door at tcp://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, stdout, stderr) == (0, "", "")


async def readline(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), TIMEOUT)


async def test_watch_and_payloads_print_a_line_for_each() -> None:
    machine = Machine({"Start": State(), "Bell": State(multi=True)}, id="bell")
    machine.add("Start")
    async with Mux(machine) as mux:
        with (
            running("watch", mux.addr) as plain,
            running("watch", mux.addr, "--json") as watch,
            running("payloads", mux.addr, "price", "--json") as payloads,
        ):
            assert (await readline(plain)).endswith(" +Start (Start:1)\n")
            assert json.loads(await readline(watch))["activated"] == ["Start"]
            machine.add("Bell")
            assert (await readline(plain)).endswith(" +Bell (Start:1 Bell:1)\n")
            assert json.loads(await readline(watch)) == {
                "activated": ["Bell"],
                "deactivated": [],
                "ticked": {"Bell": 1},
            }
            machine.add("Bell")
            assert (await readline(plain)).endswith(" *Bell (Start:1 Bell:3)\n")
            async with asyncio.timeout(TIMEOUT):
                while len(mux.clients) < 3 or any(mux.clients.values()):
                    await asyncio.sleep(0.05)
            mux.send_payload("other", 1)
            mux.send_payload("price", {"usd": 1.5, "raw": b"\x01"})
            payload = json.loads(await readline(payloads))
            assert payload["name"] == "price"
            assert payload["data"] == {"usd": 1.5, "raw": "01"}
            assert payload["source"] == "bell"
            for process in (plain, watch, payloads):
                _, stderr = await asyncio.to_thread(interrupt, process)
                assert (process.returncode, stderr) == (0, "")
    machine.dispose()


async def test_watch_gives_up_when_the_source_is_gone() -> None:
    machine = Machine({"Start": State()}, id="gone")
    async with Mux(machine) as mux:
        with running("watch", mux.addr, "--connect-timeout", "1") as watch:
            assert await readline(watch)
            await mux.stop()
            _, stderr = await asyncio.to_thread(watch.communicate, timeout=TIMEOUT)
    assert watch.returncode == 2
    assert "no source at" in one_line(stderr)
    machine.dispose()


async def test_a_reader_that_goes_away_ends_watch_quietly() -> None:
    machine = Machine({"Start": State(), "Bell": State(multi=True)}, id="head")
    async with Mux(machine) as mux:
        with running("watch", mux.addr) as watch:
            assert await readline(watch)
            assert watch.stdout is not None
            watch.stdout.close()
            machine.add("Bell")
            assert watch.stderr is not None
            assert await asyncio.to_thread(watch.stderr.read) == ""
            assert await asyncio.to_thread(watch.wait, TIMEOUT) == 0
    machine.dispose()
