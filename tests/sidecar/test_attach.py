"""The attach job shows a machine of Python code, and ends with it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from amzmq.cli.serving import NotServable
from amzmq.machine import Machine, Result, State
from amzmq.rpc import Client
from amzmq.sidecar.attach import AttachJob
from amzmq.sidecar.config import AttachConfig
from amzmq.sidecar.directory import Directory, IdTaken
from amzmq.sidecar.host import Host
from amzmq.sidecar.output import Outlet
from amzmq.sidecar.processes import Children
from tests.sidecar.rig import PATIENCE_S

MODULE = """
from amzmq import Machine, State

def make():
    return Machine({"Open": State()}, id="door")

kept = make()
number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "attached.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("attached", None)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    directory = Directory("test")
    life = await directory.open(Machine({"Ready": State()}, id="test"), "tcp://127.0.0.1:0")
    yield Host(directory, Children(), Outlet(1), Outlet(2))
    assert list(directory) == [life]
    await directory.withdraw(life)


def job(host: Host, target: str, name: str = "front") -> AttachJob:
    return AttachJob(name, AttachConfig(f"attached:{target}"), host)


async def test_the_machine_is_served_and_ready_until_it_is_stopped(host: Host) -> None:
    front = job(host, "make")
    await front.start()
    assert front.mach.is_("Ready")
    exposed = host.directory.get("door")
    assert exposed is not None
    async with asyncio.timeout(PATIENCE_S), Client(exposed.addr, machine="door") as client:
        assert await client.net_mach.add("Open") is Result.EXECUTED
        await front.stop()
        await client.mach.when_not("Ready")


async def test_it_has_exited_when_the_machine_has_ended(host: Host) -> None:
    front = job(host, "make")
    await front.start()
    exposed = host.directory.get("door")
    assert exposed is not None
    machine = exposed.machine
    assert isinstance(machine, Machine)
    machine.dispose()
    async with asyncio.timeout(PATIENCE_S):
        await front.mach.when("Exited")
    await front.stop()


async def test_two_machines_of_one_id_are_refused(host: Host) -> None:
    front, back = job(host, "make"), job(host, "make", "back")
    await front.start()
    with pytest.raises(IdTaken, match="'door' is shown already"):
        await back.start()
    await front.stop()


async def test_a_machine_that_has_ended_is_not_shown_again(host: Host) -> None:
    first = job(host, "kept")
    await first.start()
    await first.stop()
    with pytest.raises(NotServable, match="name a function that makes a new machine"):
        await job(host, "kept").start()


@pytest.mark.parametrize("target", ["number", "nothing"])
async def test_what_is_no_machine_is_named(host: Host, target: str) -> None:
    with pytest.raises(NotServable, match=target):
        await job(host, target).start()
