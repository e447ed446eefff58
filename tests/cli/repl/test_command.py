from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from amzmq.machine import Machine
from amzmq.rpc.repl import mach_repl
from tests.cli.background import DOOR, in_background
from tests.cli.command import TIMEOUT, amzmq, invoke, one_line
from tests.cli.terminal import on_terminal


@asynccontextmanager
async def served(folder: Path, *ids: str) -> AsyncIterator[None]:
    """Machines served for a REPL, with their address files in a folder."""
    async with AsyncExitStack() as stack:
        for id in ids:
            machine = Machine(DOOR, id=id)
            machine.add("Start", "Closed")
            await stack.enter_async_context(mach_repl(machine, addr_dir=folder))
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with in_background(lambda: served(tmp_path / "run", "door", "gate")):
        yield tmp_path / "run"


def test_one_command_on_many_machines_of_a_folder(folder: Path) -> None:
    listed = amzmq("repl", str(folder), "--", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout == ("1. door t2 CR (Start:1 Closed:1)\n2. gate t2 CR (Start:1 Closed:1)\n")
    added = invoke("repl", str(folder), "--json", "--", "group-add", "Open")
    assert json.loads(one_line(added.stdout))["executed"] == 2
    gate = invoke("repl", str(folder / "gate.addr"), "--", "add", "gate", "Alarm", "--arg", "n=1")
    assert one_line(gate.stdout) == "executed (Start:1 Open:1 Alarm:1)"
    canceled = invoke("repl", str(folder), "--machine", "door", "--", "set", ".", "Alarm")
    assert (canceled.returncode, one_line(canceled.stdout)) == (1, "canceled (Start:1 Open:1)")


def test_an_address_is_enough(folder: Path) -> None:
    addr = (folder / "door.addr").read_text()
    for target in (addr, addr.removeprefix("tcp://")):
        shown = invoke("repl", target, "--", "mach", "door")
        assert one_line(shown.stdout) == "(Start:1 Closed:1)"


def test_the_status_of_a_wait_or_a_mistake_is_the_truth(folder: Path, tmp_path: Path) -> None:
    late = invoke("repl", str(folder), "--", "when", "door", "Open", "--timeout", "0.1")
    assert (late.returncode, one_line(late.stdout)) == (
        1,
        "Open not active within 0.1 s: Open:0",
    )
    wrong = invoke("repl", str(folder), "--", "add", "door", "Opne")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Opne" in one_line(wrong.stderr)
    script = tmp_path / "script"
    script.write_text("add door Open\nfly\n")
    failed = invoke("repl", str(folder), "--", "script", str(script))
    assert failed.returncode == 2
    assert one_line(failed.stdout) == "executed (Start:1 Open:1)"
    assert f"{script}:2: no command 'fly'" in one_line(failed.stderr)


def test_what_cannot_be_reached_is_told_and_refused_if_all_are_required(folder: Path) -> None:
    # Port 9 is "discard": nobody serves a machine there.
    (folder / "stale.addr").write_text("tcp://127.0.0.1:9")
    options = ("--connect-timeout", "1")
    partly = invoke("repl", str(folder), *options, "--", "mach", "door")
    assert (partly.returncode, one_line(partly.stdout)) == (0, "(Start:1 Closed:1)")
    assert "tcp://127.0.0.1:9" in one_line(partly.stderr)
    required = invoke("repl", str(folder), *options, "--req-all", "--", "mach", "door")
    assert (required.returncode, required.stdout) == (2, "")
    assert "tcp://127.0.0.1:9" in one_line(required.stderr)


def test_nobody_there_is_status_2_in_one_line(tmp_path: Path) -> None:
    nobody = invoke("repl", "127.0.0.1:9", "--connect-timeout", "0.5", "--", "status")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert "tcp://127.0.0.1:9" in one_line(nobody.stderr)
    empty = invoke("repl", str(tmp_path), "--", "status")
    assert empty.returncode == 2
    assert "is anything served?" in one_line(empty.stderr)


def test_a_machine_that_is_not_there_is_status_2_in_one_line(folder: Path) -> None:
    options = ("--machine", "lamp", "--connect-timeout", "0.5")
    nobody = invoke("repl", str(folder), *options, "--", "status")
    assert nobody.returncode == 2
    assert "no machine lamp there" in one_line(nobody.stderr)


def test_without_a_terminal_there_is_no_shell(tmp_path: Path) -> None:
    done = invoke("repl", str(tmp_path))
    assert done.returncode == 2
    assert "the shell needs a terminal" in one_line(done.stderr)


def test_a_shell_follows_the_folder_and_leaves_with_status_0(tmp_path: Path) -> None:
    run, state = tmp_path / "run", tmp_path / "state"
    variables = {"PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(state)}
    with (
        in_background(lambda: served(run, "door")),
        on_terminal("repl", str(run), **variables) as (terminal, process),
    ):
        terminal.read_until("amzmq>")
        terminal.type("add door Open\r")
        terminal.read_until(r"executed \(Start:1 Open:1\)")
        with in_background(lambda: served(run / "more", "lamp")):
            answer = ""
            while answer != "(Start:1 Closed:1)":
                terminal.type("mach lamp\r")
                answer = terminal.read_until(r"\(Start:1 Closed:1\)|err> ")
        assert process.poll() is None
        terminal.type("exit\r")
        assert process.wait(TIMEOUT) == 0
    assert "add door Open" in (state / "amzmq" / "history").read_text()
