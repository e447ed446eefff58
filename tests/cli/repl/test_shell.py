from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from amzmq.cli.repl.shell import MachineCompleter, history_file, new_prompt, run_shell, toolbar
from tests.rpc.rig import soon, until

from .rig import Rig


class Keys:
    """A user at a shell.

    Attributes:
        prompt: What the user types into.
    """

    def __init__(self, pipe: PipeInput, prompt: PromptSession[str]) -> None:
        self.type = pipe.send_text
        self.prompt = prompt


@asynccontextmanager
async def shell(rig: Rig, history: Path) -> AsyncIterator[Keys]:
    """A shell that is left, by the keys given to it, when the block ends."""
    with create_pipe_input() as pipe:
        prompt = new_prompt(rig.machines, history, terminal_in=pipe, terminal_out=DummyOutput())
        running = asyncio.create_task(run_shell(rig.interpreter(is_shell=True), prompt))
        try:
            yield Keys(pipe, prompt)
            await soon(running)
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_lines_are_run_until_exit(rig: Rig, tmp_path: Path) -> None:
    (door,) = await rig.serve_all("door")
    async with shell(rig, tmp_path / "history") as keys:
        keys.type("add door Open\n\nmach door\nexit\n")
    assert door.is_("Open")
    assert [outcome.text for outcome in rig.outcomes] == ["executed (Start:1 Open:1)"] + [
        "(Start:1 Open:1)"
    ]


async def test_a_mistake_is_told_and_the_shell_goes_on(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (door,) = await rig.serve_all("door")
    async with shell(rig, tmp_path / "history") as keys:
        keys.type("fly\nadd lamp On\nadd door Opne\nadd door Open\nexit\n")
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == [
        "err> no command 'fly'; there are",
        "err> no machine is called 'lamp'; there are",
        "err> missing states",
    ]
    assert door.is_("Open")


async def test_ctrl_d_leaves_and_ctrl_c_empties_the_line(rig: Rig, tmp_path: Path) -> None:
    (door,) = await rig.serve_all("door")
    async with shell(rig, tmp_path / "history") as keys:
        keys.type("add door Bell\x03")
        keys.type("add door Open\n\x04")
    assert (door.is_("Open"), door.is_("Bell")) == (True, False)


async def test_a_signal_ends_a_command_and_not_the_shell(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (door,) = await rig.serve_all("door")
    async with shell(rig, tmp_path / "history") as keys:
        keys.type("when door Open\n")
        await until(lambda: signal.getsignal(signal.SIGINT) is not signal.default_int_handler)
        replica = rig.machines.named("door").replica
        await until(lambda: replica._subs.pending)
        os.kill(os.getpid(), signal.SIGINT)
        keys.type("add door Bell\nexit\n")
    assert "interrupted" in capsys.readouterr().err
    assert (door.is_("Bell"), door.is_("Open")) == (True, False)


async def test_tab_completes_a_word(rig: Rig, tmp_path: Path) -> None:
    (door,) = await rig.serve_all("door")
    async with shell(rig, tmp_path / "history") as keys:
        keys.type("add do\t")
        await until(lambda: keys.prompt.default_buffer.text == "add door")
        keys.type(" Op\t")
        await until(lambda: keys.prompt.default_buffer.text == "add door Open")
        keys.type("\nexit\n")
    assert door.is_("Open")


async def test_the_history_is_kept_for_the_next_shell_and_for_nobody_else(
    rig: Rig, tmp_path: Path
) -> None:
    (door,) = await rig.serve_all("door")
    history = tmp_path / "state" / "amzmq" / "history"
    async with shell(rig, history) as keys:
        keys.type("toggle door Bell\nexit\n")
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    async with shell(rig, history) as keys:
        keys.type("\x1b[A\x1b[A\n")  # twice up: over "exit"
        await until(lambda: door.tick("Bell") == 2)
        keys.type("exit\n")


async def test_without_a_place_for_the_history_the_shell_works_and_says_so(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    async with shell(rig, tmp_path / "file" / "history") as keys:
        keys.type("status\nexit\n")
    assert "the history is not kept" in capsys.readouterr().err
    assert len(rig.outcomes) == 1


def test_the_history_is_where_the_user_keeps_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "there")
    assert history_file() == Path("there/amzmq/history")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "here")
    assert history_file() == Path("here/.local/state/amzmq/history")


async def test_the_line_below_tells_how_many_are_connected(rig: Rig) -> None:
    await rig.serve_all("door")
    assert toolbar(rig.machines) == "1 of 1 machines connected"
    rig.machines.follow(["mem://nobody"])
    await until(lambda: rig.machines.failures)
    assert toolbar(rig.machines) == "0 of 0 machines connected; no answer from mem://nobody"


async def test_a_completion_replaces_what_is_typed_of_the_word(rig: Rig) -> None:
    await rig.serve_all("door")
    completer = MachineCompleter(rig.machines)
    found = list(completer.get_completions(Document("add door Op"), CompleteEvent()))
    assert [(item.text, item.start_position) for item in found] == [("Open", -2)]
