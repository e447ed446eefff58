from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from amzmq.cli.outcome import BAD
from amzmq.cli.repl.interpreter import LeaveShell, ScriptFailed
from amzmq.cli.repl.machines import MachineUnknown
from amzmq.cli.repl.parser import LineInvalid
from amzmq.cli.repl.parsing import PARSERS, parse, split
from amzmq.errors import CallTimeout, NotConnected, StateUnknown
from amzmq.machine import Event
from tests.rpc.rig import soon, turns, until

from .rig import Rig


async def test_states_are_changed_at_the_source(rig: Rig) -> None:
    (door,) = await rig.serve_all("door")
    added = await rig.run("add door Open")
    assert (added.text, added.status) == ("executed (Start:1 Open:1)", 0)
    assert added.data == {
        "id": "door",
        "result": "executed",
        "clock": {"Start": 1, "Open": 1, "Closed": 2, "Alarm": 0, "Bell": 0, "Exception": 0},
    }
    await rig.run("toggle . Bell")
    assert door.is_("Start", "Open", "Bell")
    await rig.run("remove . Bell")
    await rig.run("set door Closed")
    assert door.active_states() == ["Closed"]


async def test_arguments_reach_the_handlers(rig: Rig) -> None:
    (door,) = await rig.serve_all("door")
    given: list[object] = []

    def note(event: Event) -> None:
        given.append(dict(event.args))

    door.bind({"OpenState": note}, id="note")
    await rig.run("add door Open --arg user --val 42 --arg why --val 'it rings'")
    assert given == [{"user": 42, "why": "it rings"}]


async def test_a_canceled_mutation_is_a_no(rig: Rig) -> None:
    await rig.serve_all("door")
    canceled = await rig.run("add door Alarm")
    assert (canceled.text, canceled.status) == ("canceled (Start:1 Closed:1)", BAD)


async def test_a_state_or_machine_that_is_not_there_is_an_error(rig: Rig) -> None:
    await rig.serve_all("door")
    with pytest.raises(StateUnknown):
        await rig.run("add door Opne")
    with pytest.raises(MachineUnknown):
        await rig.run("add lamp Open")


async def test_a_change_without_an_answer_in_time_is_an_error(rig: Rig) -> None:
    await rig.serve_all("door")
    await rig.run("status")
    with pytest.raises(CallTimeout, match="add at door has no answer within 0 s"):
        await rig.run("add door Open", timeout=0.0)


async def test_group_add_changes_all_that_have_the_states_and_match(rig: Rig) -> None:
    door, gate, hall = await rig.serve_all("door", "gate", "hall")
    lamp = await rig.serve("lamp", schema={"On": door.schema["Start"]})
    await rig.follow()
    done = await rig.run("group-add Open")
    assert done.data == {"executed": 3, "queued": 0, "canceled": 0, "failed": 0, "failures": {}}
    assert lamp.not_("On")
    done = await rig.run("group-add Bell -r '[de]$'")
    assert done.text == "executed:1 queued:0 canceled:0 failed:0"
    assert [machine.is_("Bell") for machine in (door, gate, hall)] == [False, True, False]


async def test_group_remove_removes(rig: Rig) -> None:
    door, gate = await rig.serve_all("door", "gate")
    gate.add("Bell")
    await rig.run("group-add Bell")
    done = await rig.run("group-remove Bell --prefix d")
    assert done.status == 0
    assert (door.is_("Bell"), gate.is_("Bell")) == (False, True)
    await rig.run("group-remove Start Bell")
    assert (str(door), str(gate)) == ("(Closed:1)", "(Closed:1)")


async def test_a_group_of_nobody_is_a_no(rig: Rig) -> None:
    await rig.serve_all("door")
    for line in ("group-add Bell -p x", "group-add Nowhere"):
        done = await rig.run(line)
        assert done.status == BAD
        assert "no connected machine" in done.text


async def test_a_group_with_one_canceled_is_a_no_that_counts_it(rig: Rig) -> None:
    door, _ = await rig.serve_all("door", "gate")
    door.add("Open")
    done = await rig.run("group-add Alarm")
    assert done.text == "executed:1 queued:0 canceled:1 failed:0"
    assert done.status == BAD


async def test_one_of_a_group_that_fails_keeps_the_others_from_nothing(rig: Rig) -> None:
    await rig.serve_all("door", "gate")
    done = await rig.run("group-add Bell", timeout=0.0)
    assert "failed:2" in done.text
    assert "door: add at door has no answer" in done.text
    assert done.status == BAD


@pytest.mark.parametrize(
    ("line", "opens", "text"),
    [
        ("when door Open Alarm", ("Open", "Alarm"), "Open:1 Alarm:1"),
        ("when-not door Start Closed", ("Open",), "Start:2 Closed:2"),
        ("when-time door -s Bell -t 1", ("Open", "Bell"), "Bell:1"),
    ],
)
async def test_a_wait_ends_when_it_happens(
    rig: Rig, line: str, opens: tuple[str, ...], text: str
) -> None:
    (door,) = await rig.serve_all("door")
    waiting = asyncio.create_task(rig.run(line))
    await turns()
    assert not waiting.done()
    door.set(*opens)
    outcome = await soon(waiting)
    assert (outcome.text, outcome.status) == (text, 0)


async def test_a_wait_that_is_met_already_ends_at_once(rig: Rig) -> None:
    await rig.serve_all("door")
    met = await rig.run("when door Closed --timeout 0")
    assert met.data == {"id": "door", "met": True, "clock": {"Closed": 1}}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("when door Open", "Open not active within 0.01 s: Open:0"),
        ("when-not door Closed", "Closed not inactive within 0.01 s: Closed:1"),
        ("when-time door -s Open -t 5", "Open:5 not reached within 0.01 s: Open:0"),
    ],
)
async def test_a_wait_whose_time_runs_out_is_a_no(rig: Rig, line: str, says: str) -> None:
    await rig.serve_all("door")
    late = await rig.run(f"{line} --timeout 0.01")
    assert (late.text, late.status) == (says, BAD)
    assert (await rig.run(line, timeout=0.01)).text == says


async def test_a_wait_for_a_machine_that_is_let_go_of_is_an_error(rig: Rig) -> None:
    await rig.serve_all("door")
    waiting = asyncio.create_task(rig.run("when door Open"))
    await asyncio.sleep(0)
    rig.machines.follow([])
    with pytest.raises(NotConnected, match="door at mem://door went away"):
        await soon(waiting)


async def test_a_machine_is_shown_in_several_ways(rig: Rig) -> None:
    await rig.serve_all("door")
    active = await rig.run("mach door")
    assert (active.text, active.data) == ("(Start:1 Closed:1)", {"Start": 1, "Closed": 1})
    assert (await rig.run("mach door --all")).text == (
        "(Start:1 Closed:1) [Open:0 Alarm:0 Bell:0 Exception:0]"
    )
    time = await rig.run("time door")
    assert (time.text, time.data) == ("1 0 1 0 0 0", [1, 0, 1, 0, 0, 0])
    total = await rig.run("time door --sum")
    assert (total.text, total.data) == ("2", 2)
    inspected = await rig.run("inspect door")
    assert inspected.text.startswith("mach://door\n1 Start\n    |Tick     1\n0 Open\n")
    assert isinstance(inspected.data, dict)
    assert inspected.data["states"]["Alarm"]["require"] == ["Open"]


async def test_list_has_a_line_for_each_machine_that_matches(rig: Rig) -> None:
    _, gate = await rig.serve_all("door", "gate")
    await rig.run("add gate Open")
    listed = await rig.run("list")
    assert listed.text == ("1. door t2 CR (Start:1 Closed:1)\n2. gate t4 CR (Start:1 Open:1)")
    assert (await rig.run("list -a Open")).text == "1. gate t4 CR (Start:1 Open:1)"
    assert (await rig.run("list -t 3 --no-states")).text == "1. gate t4 CR"
    assert (await rig.run("list -T 3 --states-all")).text == (
        "1. door t2 CR (Start:1 Closed:1) [Open:0 Alarm:0 Bell:0 Exception:0]"
    )
    nobody = await rig.run("list -p x")
    assert (nobody.text, nobody.data) == ("no machine matches", [])
    assert gate.is_("Open")


async def test_list_shows_or_hides_what_is_not_connected(rig: Rig) -> None:
    await rig.serve_all("door", "gate")
    await rig.served["mem://door"].stop()
    door = rig.machines.named("door")
    await until(lambda: not door.client.mach.is_("Connected"))
    assert (await rig.run("list -z")).text.startswith("1. door t2 DS (Start:1 Closed:1)\n2. gate")
    assert (await rig.run("list --no-disconn")).text.startswith("1. gate")


async def test_list_as_data_says_where_each_machine_is(rig: Rig) -> None:
    await rig.serve_all("door")
    listed = await rig.run("list")
    assert isinstance(listed.data, list)
    (row,) = listed.data
    assert row["name"] == row["id"] == "door"
    assert row["addr"] == "mem://door"
    assert (row["connected"], row["ready"], row["time_sum"]) == (True, True, 2)
    assert row["states"] == {"Start": 1, "Closed": 1}


async def test_status_counts_and_names_what_does_not_answer(rig: Rig) -> None:
    await rig.serve("door")
    rig.machines.follow(["mem://door", "mem://nobody"])
    await until(lambda: rig.machines.failures and rig.machines.mach.is_("Connected"))
    status = await rig.run("status")
    assert status.text.startswith("connected:1 connecting:0 disconnected:0 total:1\n")
    assert "mem://nobody" in status.text
    assert isinstance(status.data, dict)
    assert list(status.data["unreachable"]) == ["mem://nobody"]


async def test_a_script_runs_line_by_line(rig: Rig, tmp_path: Path) -> None:
    (door,) = await rig.serve_all("door")
    script = tmp_path / "setup.txt"
    script.write_text("# first open it\nadd door Open\n\n  add door Alarm Bell\nmach door\n")
    assert await rig.interpreter().run(["script", str(script)]) == 0
    assert [outcome.text for outcome in rig.outcomes][-1] == "(Start:1 Open:1 Alarm:1 Bell:1)"
    assert door.is_("Alarm")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fly", "setup.txt:2: no command 'fly'"),
        ("add door Opne", "setup.txt:2: missing states: Opne"),
        ("script setup.txt", "setup.txt:2: a script runs no other script"),
        ("add door 'Open", "setup.txt:2: .*quotation"),
    ],
)
async def test_a_script_ends_at_the_first_error_and_names_the_line(
    rig: Rig, tmp_path: Path, line: str, says: str
) -> None:
    (door,) = await rig.serve_all("door")
    (tmp_path / "setup.txt").write_text(f"add door Open\n{line}\nadd door Bell\n")
    with pytest.raises(ScriptFailed, match=says):
        await rig.interpreter().run(["script", str(tmp_path / "setup.txt")])
    assert (door.is_("Open"), door.is_("Bell")) == (True, False)


async def test_a_script_ends_at_the_first_no_and_at_exit(rig: Rig, tmp_path: Path) -> None:
    (door,) = await rig.serve_all("door")
    script = tmp_path / "setup.txt"
    script.write_text("add door Alarm\nadd door Bell\n")
    assert await rig.interpreter().run(["script", str(script)]) == BAD
    script.write_text("exit\nadd door Bell\n")
    assert await rig.interpreter(is_shell=True).run(["script", str(script)]) == 0
    assert door.not_("Bell")


async def test_a_script_that_cannot_be_read_is_an_error(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(ScriptFailed, match="cannot be read"):
        await rig.interpreter().run(["script", str(tmp_path / "none")])


async def test_an_empty_line_and_a_comment_do_nothing(rig: Rig) -> None:
    interpreter = rig.interpreter()
    for line in ("", "   ", "# add door Open"):
        assert await interpreter.run_line(line) == 0
    assert rig.outcomes == []


async def test_help_and_cheatsheet_name_every_command(rig: Rig) -> None:
    assert [line.split()[0] for line in (await rig.run("help")).text.splitlines()] == list(PARSERS)
    assert (await rig.run("help add")).text.startswith("usage: add")
    with pytest.raises(LineInvalid, match="no command 'fly'"):
        await rig.run("help fly")
    sheet = (await rig.run("cheatsheet")).text
    shown = {line.split()[0] for line in sheet.splitlines()}
    assert shown == set(PARSERS) - {"connect", "cheatsheet", "help", "exit"}


async def test_every_line_of_the_cheatsheet_is_a_command(rig: Rig) -> None:
    sheet = (await rig.run("cheatsheet")).text
    for line in sheet.splitlines():
        example, _, explanation = line.partition("  ")
        assert explanation.strip(), line
        assert parse(split(example)), line


async def test_connect_and_exit_are_for_the_shell(rig: Rig) -> None:
    for line in ("connect", "exit"):
        with pytest.raises(LineInvalid, match="in a shell only"):
            await rig.run(line)
    shell = rig.interpreter(is_shell=True)
    assert await shell.run_line("connect") == 0
    with pytest.raises(LeaveShell):
        await shell.run_line("exit")
