from __future__ import annotations

import asyncio
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amzmq.errors import AddressInUse, NotConnected, RpcError
from amzmq.machine import Machine
from amzmq.rpc import Client
from amzmq.rpc.repl import AddrFileFailed, mach_repl, mach_repl_env

from .rig import World, machine, soon, until


@pytest.fixture(autouse=True)
def no_repl_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AM_REPL_ADDR", "AM_REPL_DIR", "AM_TEST_RUNNER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def source() -> Iterator[Machine]:
    made = machine("door")
    yield made
    made.dispose()


def future_str() -> asyncio.Future[str]:
    return asyncio.get_running_loop().create_future()


def future_none() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_client_follows_and_changes_the_machine_at_the_address_told(
    source: Machine,
) -> None:
    told = future_str()
    async with mach_repl(source, addr_future=told) as repl:
        assert repl.mux.mach.id == "rm-repl-door"
        assert repl.addr == await soon(told)
        assert repl.addr.startswith("tcp://127.0.0.1:")
        async with Client(repl.addr) as client:
            await soon(client.net_mach.add("A"))
    assert source.is_("A")
    with pytest.raises(NotConnected):
        assert repl.addr


async def test_the_address_file_is_whole_private_and_gone_at_the_end(
    source: Machine, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    written = future_none()
    async with mach_repl(source, addr_dir=folder, err_future=written) as repl:
        await soon(written)
        path = folder / "door.addr"
        assert repl.path == path
        assert path.read_text() == repl.addr
        assert (mode(folder), mode(path)) == (0o700, 0o600)
        assert os.listdir(folder) == ["door.addr"]
    assert os.listdir(folder) == []


async def test_disposing_the_machine_ends_its_repl(tmp_path: Path) -> None:
    source = machine("door")
    repl = mach_repl(source, addr_dir=tmp_path)
    await repl.start()
    source.dispose()
    await until(lambda: not os.listdir(tmp_path))
    await soon(repl.stop())
    with pytest.raises(NotConnected):
        assert repl.addr


async def test_stopping_again_does_nothing_and_starting_again_is_refused(source: Machine) -> None:
    repl = mach_repl(source)
    await repl.stop()
    await repl.start()
    with pytest.raises(RpcError, match="started already"):
        await repl.start()
    await repl.stop()
    await repl.stop()
    with pytest.raises(RpcError, match="started already"):
        await repl.start()


async def test_the_file_of_somebody_else_stays(source: Machine, tmp_path: Path) -> None:
    async with mach_repl(source, addr_dir=tmp_path):
        (tmp_path / "door.addr").write_text("tcp://127.0.0.1:9")
    assert (tmp_path / "door.addr").read_text() == "tcp://127.0.0.1:9"


async def test_a_file_that_is_gone_already_is_no_error(source: Machine, tmp_path: Path) -> None:
    async with mach_repl(source, addr_dir=tmp_path):
        (tmp_path / "door.addr").unlink()
    assert os.listdir(tmp_path) == []


async def test_a_file_that_cannot_be_removed_is_logged(
    source: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "amzmq.repl")
    async with mach_repl(source, addr_dir=tmp_path):
        (tmp_path / "door.addr").unlink()
        (tmp_path / "door.addr").mkdir()
    assert "stays behind" in caplog.text


async def test_no_machine_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    source = machine("../a/b")
    async with mach_repl(source, addr_dir=tmp_path / "run"):
        assert os.listdir(tmp_path / "run") == ["..%2Fa%2Fb.addr"]
        assert os.listdir(tmp_path) == ["run"]
    source.dispose()


async def test_without_err_future_a_file_error_is_raised_and_nothing_serves(
    source: Machine, tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("no folder")
    repl = mach_repl(source, addr_dir=tmp_path / "run")
    with pytest.raises(AddrFileFailed, match=r"door\.addr.*addr_dir"):
        await repl.start()
    with pytest.raises(NotConnected):
        assert repl.addr


async def test_with_err_future_it_gets_the_file_error_and_the_machine_is_served(
    source: Machine, tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("no folder")
    failed = future_none()
    async with mach_repl(source, addr_dir=tmp_path / "run", err_future=failed) as repl:
        assert isinstance(failed.exception(), AddrFileFailed)
        async with Client(repl.addr) as client:
            assert client.net_mach.remote_id == "door"


async def test_an_address_that_is_taken_is_raised_and_told_to_both_futures(world: World) -> None:
    taken = await world.serve()
    source = machine("door")
    told, failed = future_str(), future_none()
    repl = mach_repl(
        source,
        taken.addr,
        addr_future=told,
        err_future=failed,
        transport=world.network.transport(),
    )
    with pytest.raises(AddressInUse):
        await repl.start()
    assert isinstance(told.exception(), AddressInUse)
    assert isinstance(failed.exception(), AddressInUse)
    source.dispose()


async def test_without_the_variable_the_environment_asks_for_nothing(source: Machine) -> None:
    assert mach_repl_env(source) is None


async def test_the_environment_gives_folder_and_default_address(
    source: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AM_REPL_ADDR", "1")
    monkeypatch.setenv("AM_REPL_DIR", str(tmp_path))
    repl = mach_repl_env(source)
    assert repl is not None
    async with repl:
        assert repl.addr.startswith("tcp://127.0.0.1:")
        assert (tmp_path / "door.addr").read_text() == repl.addr


async def test_the_environment_gives_the_address(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AM_REPL_ADDR", "mem://repl")
    source = machine("door")
    repl = mach_repl_env(source, transport=world.network.transport())
    assert repl is not None
    async with repl:
        assert (repl.addr, repl.path) == ("mem://repl", None)
    source.dispose()


async def test_tests_have_no_repl(source: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_TEST_RUNNER", "1")
    monkeypatch.setenv("AM_REPL_ADDR", "1")
    assert mach_repl_env(source) is None
    with pytest.raises(RpcError, match="AM_TEST_RUNNER"):
        mach_repl(source)


PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from amzmq.machine import Machine, State
from amzmq.rpc.repl import mach_repl


async def main():
    repl = mach_repl(Machine({"A": State()}, id="door"), addr_dir=sys.argv[1])
    await repl.start()
    return repl


loop = asyncio.new_event_loop()
repl = loop.run_until_complete(main())
child = os.fork()
if child == 0:
    sys.exit()
os.waitpid(child, 0)
print(repl.path.exists(), flush=True)
"""


def test_the_file_is_removed_when_the_interpreter_ends_but_not_by_a_forked_child(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        (sys.executable, "-c", PROGRAM, str(tmp_path)),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout == "True\n", done.stderr
    assert os.listdir(tmp_path) == []
