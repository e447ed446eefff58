from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from amzmq.cli.demo.files import FileRead, list_files, read_file, standard_library
from amzmq.cli.demo.states import WalkStates, times_added
from amzmq.cli.demo.walk import Walk
from amzmq.machine import Event, Machine

TIMEOUT = 20.0


class OpenRoad:
    def outrun(self) -> bool:
        return False

    async def caught_up(self) -> None:
        raise AssertionError


class Crowded:
    """Outrun once a number of files are told; free again when told so."""

    def __init__(self, told: list[FileRead], limit: int) -> None:
        self.told, self.limit = told, limit
        self.free = asyncio.Event()
        self.patience = TIMEOUT

    def outrun(self) -> bool:
        return len(self.told) >= self.limit and not self.free.is_set()

    async def caught_up(self) -> None:
        async with asyncio.timeout(self.patience):
            await self.free.wait()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for number in range(40):
        folder = tmp_path / ("sub", "sub/deep", ".")[number % 3]
        (folder / f"{number:02}.txt").write_bytes(b"x" * number)
    return tmp_path


@asynccontextmanager
async def machine_of(walk: Walk) -> AsyncIterator[Machine]:
    machine = Machine(WalkStates, handlers=walk, handler_timeout=TIMEOUT)
    machine.add("Start")
    try:
        yield machine
    finally:
        machine.dispose()
        await machine.when_disposed()


async def walked(machine: Machine) -> None:
    machine.add("Walking")
    async with asyncio.timeout(TIMEOUT):
        await machine.when("Done")


async def test_one_round_tells_of_every_file_once(tree: Path) -> None:
    told: list[FileRead] = []
    walk = Walk(tree, (), True, lambda file, _: told.append(file), OpenRoad())
    async with machine_of(walk) as machine:
        await walked(machine)
        assert times_added(machine.tick("FileDone")) == len(told) == 40
        assert times_added(machine.tick("RoundDone")) == 1
        assert machine.not_("Walking", "Hashing", "Waiting", "Exception")
    expected = {str(path.relative_to(tree)) for path in tree.rglob("*.txt")}
    assert {file.path for file in told} == expected
    assert all(file.digest == hashlib.sha256(b"x" * file.size).digest() for file in told)
    assert walk.failure is None


async def test_rounds_go_on_until_done_is_added(tree: Path) -> None:
    told: list[FileRead] = []
    walk = Walk(tree, (), False, lambda file, _: told.append(file), OpenRoad())
    async with machine_of(walk) as machine:
        machine.add("Walking")
        async with asyncio.timeout(TIMEOUT):
            await machine.when_time({"RoundDone": 4})
        machine.add("Done")
        told_then = len(told)
        # A reading thread that is still busy reports to nobody.
        await asyncio.to_thread(list_files, tree)
        assert len(told) == told_then >= 80
        assert times_added(machine.tick("FileDone")) == told_then


async def test_an_empty_folder_is_done_at_once(tmp_path: Path) -> None:
    walk = Walk(tmp_path, (), False, lambda file, _: None, OpenRoad())
    async with machine_of(walk) as machine:
        await walked(machine)
        assert machine.tick("FileDone") == 0


async def test_what_cannot_be_read_ticks_err_read_and_the_walk_goes_on(tree: Path) -> None:
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    told: list[FileRead] = []
    walk = Walk(tree, (), True, lambda file, _: told.append(file), OpenRoad())
    async with machine_of(walk) as machine:
        await walked(machine)
        assert times_added(machine.tick("ErrRead")) == 2
        assert machine.not_("ErrRead", "Exception")
        assert isinstance(machine.err(), OSError)
    assert len(told) == 40
    assert walk.failure is None


async def test_a_crowd_is_waited_for(tree: Path) -> None:
    told: list[FileRead] = []
    crowd = Crowded(told, limit=10)
    walk = Walk(tree, (), True, lambda file, _: told.append(file), crowd)
    async with machine_of(walk) as machine:
        machine.add("Walking")
        async with asyncio.timeout(TIMEOUT):
            await machine.when("Waiting")
        assert machine.not_("Hashing")
        assert 10 <= len(told) < 40
        crowd.free.set()
        async with asyncio.timeout(TIMEOUT):
            await machine.when("Done")
    assert len(told) == 40


async def test_a_crowd_that_never_catches_up_ends_the_walk(tree: Path) -> None:
    told: list[FileRead] = []
    crowd = Crowded(told, limit=10)
    crowd.patience = 0.01
    walk = Walk(tree, (), True, lambda file, _: told.append(file), crowd)
    async with machine_of(walk) as machine:
        await walked(machine)
        assert machine.tick("ErrStalled")
        assert machine.not_("Walking", "Exception")
    assert len(told) < 40


async def test_an_error_of_our_own_ends_the_walk_and_is_kept(tree: Path) -> None:
    def publish(file: FileRead, event: Event) -> None:
        raise ZeroDivisionError

    walk = Walk(tree, (), True, publish, OpenRoad())
    async with machine_of(walk) as machine:
        await walked(machine)
    assert isinstance(walk.failure, ZeroDivisionError)


def test_links_to_folders_are_not_followed(tree: Path) -> None:
    (tree / "sub" / "loop").symlink_to(tree)
    assert len(list_files(tree)[0]) == 40


def test_folders_to_skip_are_left_out(tree: Path) -> None:
    assert all("deep" not in path for path in list_files(tree, {"deep"})[0])


def test_a_name_that_is_no_text_becomes_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.txt")
    (tmp_path / name).write_bytes(b"")
    assert read_file(tmp_path, name).path == "\N{REPLACEMENT CHARACTER}.txt"


def test_the_standard_library_is_there() -> None:
    assert (standard_library() / "asyncio" / "tasks.py").is_file()
