"""The page about the sidecar says what is so, and its first five commands work."""

from __future__ import annotations

import asyncio
import configparser
import dataclasses
import json
import os
import re
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from amzmq.sidecar.config import (
    AttachConfig,
    BackoffConfig,
    DaemonConfig,
    ExecConfig,
    ReadyConfig,
    RelayConfig,
    StateConfig,
)
from amzmq.sidecar.http.openapi import document
from amzmq.sidecar.loading import EXEC_BIND, Sources, load
from amzmq.sidecar.states import AppStates
from tests.examples.warm import start
from tests.ports import free_ports
from tests.sidecar.rig import PATIENCE_S, ROOT, environment

PAGE = (ROOT / "docs" / "sidecar.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- test: ([\w ]+) -->\n```\w+\n(.*?)```", re.DOTALL)


def blocks(name: str) -> list[str]:
    return [text for found, text in BLOCK.findall(PAGE) if found == name]


def commands() -> list[str]:
    """The five, with free ports for the ones that the page has."""
    lines = [line for block in blocks("quick start") for line in block.splitlines()]
    assert len(lines) == 5
    text = "\n".join(lines)
    for known, free in zip(("7701", "8000", "7790"), free_ports(6)[::2], strict=True):
        assert known in text
        text = text.replace(known, str(free))
    # `amzmq` is the checkout's, and `python3` is the one that runs the tests.
    text = text.replace("python3 ", f"{sys.executable} ")
    return text.replace("amzmq ", f"{sys.executable} -m amzmq ").splitlines()


def test_the_first_command_installs_what_the_others_need() -> None:
    assert commands()[0] == "pip install '.[daemon]'"
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    needed = setup["options.extras_require"]["daemon"].split()
    names = {re.split("[<>=]", requirement)[0] for requirement in needed}
    assert names >= {"typer", "starlette", "uvicorn", "prometheus-client"}
    assert all(version(name) for name in names)


async def test_the_other_four_run_watch_and_change_a_command(tmp_path: Path) -> None:
    _, run, *others = commands()
    # The page leaves these where they are by default.
    served = re.findall(r"tcp://\S+", others[0])[0]
    assert "--exec -- " in run
    run = run.replace("--exec -- ", f"--exec --exec-bind {served} -- ")
    env = environment(
        XDG_RUNTIME_DIR=str(tmp_path),
        AMZMQ_SIDECAR_BIND="tcp://127.0.0.1:0",
        AMZMQ_SIDECAR_HTTP=re.findall(r"//(\S+)/machines", others[2])[0],
    )
    sidecar = await asyncio.create_subprocess_exec(
        *shlex.split(run),
        cwd=tmp_path,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert sidecar.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while b"serving app at" not in await sidecar.stderr.readline():
                assert sidecar.returncode is None
        assert await _ran(others[0], tmp_path) != ""
        assert (await _ran(others[1], tmp_path)).startswith("executed")
        told = json.loads(await _ran(others[2], tmp_path))
        assert told["id"] == "app"
        assert "Running" in told["states"]
        assert told["clock"]["Restarting"] >= 1
    finally:
        sidecar.terminate()
        async with asyncio.timeout(PATIENCE_S):
            _, log = await sidecar.communicate()
    assert sidecar.returncode in (0, 143), log.decode()


async def _ran(command: str, folder: Path) -> str:
    """What a command printed; it has to succeed."""
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command),
        cwd=folder,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return out.decode()


def test_what_the_page_leaves_out_is_the_default() -> None:
    assert EXEC_BIND == "tcp://127.0.0.1:7701"
    assert DaemonConfig().http == "127.0.0.1:7790"


def test_the_example_is_good_and_shows_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    (example,) = blocks("example")
    path.write_text(example, encoding="utf-8")
    config = load(Sources(path))
    assert config.daemon == DaemonConfig()
    web = config.jobs["web"]
    assert isinstance(web, ExecConfig)
    assert web.bind == EXEC_BIND
    assert web.backoff == BackoffConfig()
    assert web.ready == dataclasses.replace(ReadyConfig(), http="http://127.0.0.1:8000/")
    defaults = ExecConfig(("x",))
    for name in ("stdin", "pass_output", "max_line", "stop_signal", "grace"):
        assert getattr(web, name) == getattr(defaults, name)


@pytest.mark.parametrize(
    "kind",
    [
        DaemonConfig,
        ExecConfig,
        AttachConfig,
        RelayConfig,
        ReadyConfig,
        BackoffConfig,
        StateConfig,
    ],
)
def test_the_example_names_every_key(kind: Any) -> None:
    (example,) = blocks("example")
    for field in dataclasses.fields(kind):
        assert re.search(rf"\b{field.name}\b", example), field.name


def test_every_state_and_every_path_is_on_the_page() -> None:
    for state in AppStates.names():
        assert f"| {state} |" in PAGE or state == "Exception", state
    paths = document()["paths"]
    assert isinstance(paths, dict)
    for path in paths:
        assert path in PAGE or path.rpartition("/")[2] in ("remove", "set", "toggle"), path


@dataclasses.dataclass
class Done:
    """A command that has ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


async def command(folder: Path, *args: str, **env: str) -> Done:
    process = await start(
        *(sys.executable, "-m", "amzmq", "sidecar", *args), cwd=folder, env=environment(**env)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        out, err = await asyncio.gather(process.stdout.read(), process.stderr.read())
        return Done(await process.wait(), out.decode(), err.decode())


async def test_a_check_prints_what_would_run_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(blocks("example")[0], encoding="utf-8")
    done = await command(tmp_path, "--check", AMZMQ_SIDECAR_CONFIG="s.toml")
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "sidecar",
        "web",
        "door",
        "edge",
    ]
    done = await command(tmp_path, "--config", "s.toml", "--check", "--json", "--name", "other")
    told = json.loads(done.stdout)
    assert told["daemon"]["name"] == "other"
    assert told["jobs"]["web"]["backoff"]["limit"] == 0
    assert os.listdir(tmp_path) == ["s.toml"]


async def test_mistakes_are_lines_and_status_2(tmp_path: Path) -> None:
    text = '[daemon]\nlog_json = 1\n[jobs.a]\nkind = "exec"\ncommand = "ls"\n'
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    done = await command(tmp_path, "--config", "s.toml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.partition(" = ")[0] for line in done.stderr.splitlines()] == [
        "amzmq: daemon.log_json",
        "amzmq: jobs.a.command",
    ]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "nothing to run: give --config FILE"),
        (("--exec",), "--exec needs a command"),
        (("--", "ls"), "belong to --exec"),
        (("--restart", "always"), "belong to --exec"),
        (("--config", "missing.toml"), "--config = 'missing.toml': No such file"),
        (("--exec", "--restart", "maybe", "--", "ls"), "--exec.restart = 'maybe': write one of"),
    ],
)
async def test_wrong_usage_is_one_line_and_status_2(
    tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    done = await command(tmp_path, *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_readme_prints_the_same_five_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    printed = [text for found, text in BLOCK.findall(readme) if found == "sidecar"]
    assert printed == blocks("quick start")
