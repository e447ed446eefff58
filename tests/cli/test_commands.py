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

from amzmq.cli.arguments import Source
from amzmq.cli.showing import show_changes, show_payloads
from amzmq.errors import ConnectFailed
from amzmq.machine import Machine, State
from amzmq.rpc import Mux
from tests.cli.background import in_background, serving
from tests.cli.command import TIMEOUT, amzmq, interrupt, invoke, one_line, running
from tests.rpc.rig import until

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
def door() -> Iterator[str]:
    with in_background(lambda: serving("door")) as served:
        yield served.addr


def test_states_of_a_served_module_are_changed_shown_and_waited_for(folder: Path) -> None:
    serve = ("serve", "door:machine", "--bind", "tcp://127.0.0.1:0", "--json")
    with running(*serve, cwd=folder) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["id"] == "door"
        served = said["addr"]

        changed = amzmq("add", served, "Open", "Alarm", "--arg", "user=42", "--json")
        assert changed.returncode == 0, changed.stderr
        answer = json.loads(one_line(changed.stdout))
        assert answer["result"] == "executed"
        assert answer["clock"]["Open"] == answer["clock"]["Alarm"] == 1
        assert invoke("when", served, "Known", "--timeout", "20").returncode == 0

        interrupt(process)
        assert process.returncode == 0


def test_a_mutation_that_is_canceled_is_status_1(door: str) -> None:
    canceled = invoke("add", door, "Alarm", "Closed")
    assert canceled.returncode == 1
    assert canceled.stdout.startswith("canceled ")


def test_json_shows_each_state_with_its_relations(door: str) -> None:
    shown = json.loads(one_line(invoke("inspect", door, "--json").stdout))
    assert shown["id"] == "door"
    assert shown["states"]["Closed"]["active"] is True
    assert shown["states"]["Alarm"]["require"] == ["Open"]


def test_a_wait_whose_time_runs_out_is_status_1_and_says_how_it_is(door: str) -> None:
    late = invoke("when", door, "Open", "--timeout", "0.1")
    assert late.returncode == 1
    assert "Open not active within 0.1 s: (Start:1 Closed:1)" in one_line(late.stderr)
    told = invoke("when", door, "Open", "--timeout", "0", "--json")
    assert told.returncode == 1
    assert json.loads(one_line(told.stdout))["met"] is False


def test_the_other_mutations(door: str) -> None:
    def said(*args: str) -> str:
        done = invoke(*args)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert said("toggle", door, "Bell") == "executed (Start:1 Closed:1 Bell:1)\n"
    assert said("remove", door, "Bell") == "executed (Start:1 Closed:1)\n"
    assert said("set", door, "Open") == "executed (Open:1)\n"
    assert said("when-not", door, "Closed", "Bell", "--timeout", "0") == "(Open:1)\n"
    assert json.loads(said("when", door, "Open", "--json"))["met"] is True
    text = said("inspect", door)
    assert text.startswith("0 Start\n")
    assert "1 Open\n" in text

    unknown = invoke("add", door, "Opne")
    assert unknown.returncode == 2
    assert "Opne" in one_line(unknown.stderr)


def test_ls_lists_the_machines_there(door: str) -> None:
    listed = invoke("ls", door)
    assert listed.returncode == 0
    head, row = listed.stdout.splitlines()
    assert head.split("  ")[0] == "ID"
    assert row.split() == ["door", "6", "2", "0", "0", "Start", "Closed"]

    (machine,) = json.loads(invoke("ls", door, "--json").stdout)
    assert (machine["id"], machine["time_sum"]) == ("door", 2)
    assert machine["active"] == ["Start", "Closed"]


def test_ls_of_nobody_is_status_2() -> None:
    done = invoke("ls", "tcp://127.0.0.1:9", "--connect-timeout", "0.2")
    assert done.returncode == 2
    assert "tcp://127.0.0.1:9" in one_line(done.stderr)


@pytest.mark.parametrize(
    "line", ["add Bell", "inspect", "when Start", "when-not Open", "payloads", "watch"]
)
def test_each_command_takes_the_machine_that_is_named_and_no_other(door: str, line: str) -> None:
    command, *states = line.split()
    done = invoke(command, door, *states, "--machine", "gate")
    assert done.returncode == 2
    assert "no machine 'gate'" in one_line(done.stderr)


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
        other = ("when", mux.addr, "Bell", "--arg", "user=43", "--timeout", "0.1")
        late = await asyncio.to_thread(invoke, *other)
        assert late.returncode == 1
        assert "Bell not active with {'user': 43} within 0.1 s" in one_line(late.stderr)
    machine.dispose()


def test_one_of_several_machines_is_named() -> None:
    with in_background(lambda: serving("door", "lamp")) as served:
        listed = json.loads(invoke("ls", served.addr, "--json").stdout)
        assert [machine["id"] for machine in listed] == ["door", "lamp"]
        assert invoke("add", served.addr, "Bell", "--machine", "lamp").returncode == 0
        assert invoke("when", served.addr, "Bell", "--machine", "lamp").returncode == 0
        assert invoke("when-not", served.addr, "Bell", "--machine", "door").returncode == 0
        assert json.loads(invoke("inspect", served.addr, "--json").stdout)["id"] == "door"


def test_nobody_there_is_status_2_in_one_line() -> None:
    # Port 9 is "discard": nobody serves a machine there.
    done = invoke("inspect", "tcp://127.0.0.1:9", "--connect-timeout", "0.3")
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


class Printed:
    """The lines that a command in this process has printed so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    async def line(self) -> str:
        def is_whole() -> bool:
            self._text += self._capsys.readouterr().out
            return "\n" in self._text

        await until(is_whole)
        line, _, self._text = self._text.partition("\n")
        return line


async def ended(showing: asyncio.Task[None]) -> None:
    """End what is shown, as a signal does."""
    signal.raise_signal(signal.SIGINT)
    await asyncio.wait_for(showing, TIMEOUT)


async def test_watch_prints_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving("door") as door:
        printed, machine = Printed(capsys), door.machine
        plain = asyncio.create_task(show_changes(Source(door.addr), as_json=False))
        assert (await printed.line()).endswith(" +Start +Closed (Start:1 Closed:1)")
        machine.add("Bell")
        assert (await printed.line()).endswith(" +Bell (Start:1 Closed:1 Bell:1)")
        machine.add("Bell")
        assert (await printed.line()).endswith(" *Bell (Start:1 Closed:1 Bell:3)")
        await ended(plain)


async def test_watch_prints_json_for_programs_until_ctrl_c() -> None:
    async with serving("door") as door:
        machine = door.machine
        with running("watch", door.addr, "--json") as watch:
            assert json.loads(await readline(watch))["activated"] == ["Start", "Closed"]
            machine.add("Open")
            assert json.loads(await readline(watch)) == {
                "activated": ["Open"],
                "deactivated": ["Closed"],
                "ticked": {"Open": 1, "Closed": 2},
            }
            _, stderr = await asyncio.to_thread(interrupt, watch)
            assert (watch.returncode, stderr) == (0, "")


async def test_payloads_prints_those_of_the_names_that_are_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serving("door") as door:
        printed = Printed(capsys)
        showing = asyncio.create_task(show_payloads(Source(door.addr), ["price"], as_json=True))
        await until(lambda: door.mux.metrics()["syncs"] and not any(door.mux.clients.values()))
        door.mux.send_payload("other", 1)
        door.mux.send_payload("price", {"usd": 1.5, "raw": b"\x01"})
        payload = json.loads(await printed.line())
        assert payload["name"] == "price"
        assert payload["data"] == {"usd": 1.5, "raw": "01"}
        assert payload["source"] == "door"
        await ended(showing)


async def test_watch_gives_up_when_the_source_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving("door") as door:
        printed = Printed(capsys)
        source = Source(door.addr, connect_timeout=0.3)
        showing = asyncio.create_task(show_changes(source, as_json=False))
        assert "Start" in await printed.line()
        await door.mux.stop()
        with pytest.raises(ConnectFailed, match="no source at"):
            await asyncio.wait_for(showing, TIMEOUT)


async def test_a_reader_that_goes_away_ends_watch_quietly() -> None:
    async with serving("door") as door:
        machine = door.machine
        with running("watch", door.addr) as watch:
            assert await readline(watch)
            assert watch.stdout is not None
            watch.stdout.close()
            machine.add("Bell")
            assert watch.stderr is not None
            assert await asyncio.to_thread(watch.stderr.read) == ""
            assert await asyncio.to_thread(watch.wait, TIMEOUT) == 0
