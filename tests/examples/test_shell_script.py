from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from amzmq import Client
from tests.examples.programs import ANY, EXAMPLES, PATIENCE_S, Program, running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The example, with something to back up; it listens wherever there is room."""
    folder = tmp_path / "shell_script"
    shutil.copytree(EXAMPLES / "shell_script", folder)
    (folder / "data").mkdir()
    (folder / "data" / "one").write_text("1\n", encoding="utf-8")
    (folder / "data" / "two").write_text("22\n", encoding="utf-8")
    config = folder / "sidecar.toml"
    text = config.read_text(encoding="utf-8")
    assert "tcp://127.0.0.1:7701" in text
    config.write_text(text.replace("tcp://127.0.0.1:7701", ANY), encoding="utf-8")
    return folder


@asynccontextmanager
async def sidecar(folder: Path) -> AsyncIterator[tuple[Program, str]]:
    """The sidecar, and where its HTTP is."""
    command = (sys.executable, "-m", "amzmq", "sidecar", "--config", "sidecar.toml")
    flags = ("--http", "127.0.0.1:0", "--bind", ANY)
    env = {"XDG_RUNTIME_DIR": str(folder)}
    async with running(*command, *flags, cwd=folder, env=env) as program:
        url = (await program.says(r"http at (http://\S+)"))[1]
        await program.says("serving backup at")
        yield program, url


async def test_the_backup_tells_its_states_and_who_waits_hears_of_the_end(folder: Path) -> None:
    async with sidecar(folder) as (program, url):
        async with running("sh", "wait.sh", url, cwd=folder) as waiting:
            assert await waiting.ended() == 0, waiting.err
            assert waiting.out == ["the backup is done"]
        addr = (await program.says(r"serving backup at (\S+)"))[1]
        async with Client(addr) as client:
            backup = client.net_mach
            async with asyncio.timeout(PATIENCE_S):
                await backup.when("Exited")
            assert backup.tick("Copying") == backup.tick("Verifying") == 2
    assert sorted(os.listdir(folder / "copy")) == ["one", "two"]


async def test_a_backup_that_fails_is_told_as_well(folder: Path) -> None:
    shutil.rmtree(folder / "data")
    async with sidecar(folder) as (_, url):
        async with running("sh", "wait.sh", url, cwd=folder) as waiting:
            assert await waiting.ended() == 1
            assert waiting.err == ["the backup has failed"]


async def test_who_waits_without_a_sidecar_is_told_and_does_not_wait(folder: Path) -> None:
    async with running("sh", "wait.sh", "http://127.0.0.1:9", cwd=folder) as waiting:
        assert await waiting.ended() == 2


def test_the_scripts_can_be_run() -> None:
    for script in (EXAMPLES / "shell_script").glob("*.sh"):
        assert os.access(script, os.X_OK), script
        assert script.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
