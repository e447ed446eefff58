"""A source that keeps its clocks in a file: what comes back, and what is told meanwhile."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest

from amzmq.errors import AmzmqError, NotConnected, OutcomeUnknown, RpcError
from amzmq.machine import Event, Machine, Result, Schema, State
from amzmq.rpc import Client, Mux
from amzmq.rpc.server import persist
from amzmq.rpc.server.clock_file import ClockFile, PersistFailed
from amzmq.rpc.server.clock_records import read
from amzmq.rpc.server.persist import Fsync

from ..rig import PATIENCE_S, QUICK, World, is_level, level, machine, soon, until

POLICIES = [policy.value for policy in Fsync]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clocks"


class Disk:
    """The disk, as the file sees it: it may be full, and counts what is forced to it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.syncs = 0
        self._write, self._sync = os.write, os.fdatasync
        patch.setattr(os, "write", self.write)
        patch.setattr(os, "fdatasync", self.sync)
        patch.setattr(persist, "RETRY_INTERVAL", 0.01)

    def write(self, fd: int, data: Any) -> int:
        """A full disk still takes the first half."""
        if not self.is_full:
            return self._write(fd, data)
        if len(data) > 1:
            return self._write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def sync(self, fd: int) -> None:
        self.syncs += 1
        self._sync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def kept(path: Path) -> dict[str, dict[str, int]]:
    """The ticks in a file, by machine and state."""
    clocks = read(path.read_bytes()).clocks.values()
    return {clock.machine_id: clock.by_name() for clock in clocks}


# What comes back.


@pytest.mark.parametrize("fsync", POLICIES)
async def test_a_restarted_source_goes_on_where_it_was(
    world: World, path: Path, fsync: Any
) -> None:
    first = machine()
    mux = await world.serve(first, persist=path, fsync=fsync)
    first.add("A")
    first.add("B")
    first.remove("A")
    await mux.stop()
    again = machine()
    await world.serve(again, persist=path, fsync=fsync)
    assert again.clock() == first.clock()
    assert again.active_states() == ["B"]
    assert again.machine_tick == first.machine_tick + 1
    assert again.queue_tick == first.queue_tick


@pytest.mark.parametrize("fsync", POLICIES)
async def test_what_a_client_was_told_is_in_the_file_by_then(
    world: World, path: Path, fsync: Any
) -> None:
    source = machine()
    await world.serve(source, persist=path, fsync=fsync)
    client = await world.follow()
    for _ in range(3):
        await soon(client.net_mach.add("Multi"))
        assert kept(path)["src"] == source.clock()


async def test_a_follower_sees_time_go_on_and_never_back(world: World, path: Path) -> None:
    source = machine()
    mux = await world.serve(source, persist=path)
    client = await world.follow()
    seen: list[tuple[int, ...]] = []
    for _ in range(5):
        await soon(client.net_mach.add("Multi"))
        seen.append((client.net_mach.queue_tick, *client.net_mach.time()))
    epoch = client.epoch
    await mux.stop()
    again = machine()
    await world.serve(again, persist=path)
    await until(lambda: client.epoch != epoch)
    await level(again, client)
    seen.append((client.net_mach.queue_tick, *client.net_mach.time()))
    await soon(client.net_mach.add("Multi"))
    seen.append((client.net_mach.queue_tick, *client.net_mach.time()))
    for before, after in zip(seen, seen[1:], strict=False):
        assert all(now >= then for then, now in zip(before, after, strict=True))
    assert client.net_mach.tick("Multi") == 11


async def test_handlers_are_not_run_again_but_a_state_tells_of_the_restart(
    world: World, path: Path
) -> None:
    schema: Schema = {"A": State(), "MachineRestored": State(multi=True)}
    mux = await world.serve(first := machine(schema=schema), persist=path)
    first.add("A")
    await mux.stop()
    called: list[str] = []

    def note(event: Event) -> None:
        called.append(event.name)

    again = machine(schema=schema)
    again.bind({"AState": note, "MachineRestoredState": note})
    await world.serve(again, persist=path)
    assert called == ["MachineRestoredState"]
    assert again.is_("A", "MachineRestored")


async def test_several_machines_are_kept_in_one_file(world: World, path: Path) -> None:
    mux = await world.serve(None, persist=path)
    left, right = machine("left"), machine("right")
    mux.serve(left)
    mux.serve(right)
    left.add("A")
    right.add("B")
    right.add("Multi")
    await mux.stop()
    assert kept(path)["left"]["A"] == kept(path)["right"]["B"] == 1
    new = machine("src")
    later = await world.serve(new, persist=path)
    # One that is served again only later goes on as well.
    later.serve(again := machine("right"))
    assert again.clock() == right.clock()
    again.add("Multi")
    await later.stop()
    assert kept(path)["right"]["Multi"] == right.tick("Multi") + 2
    assert kept(path)["left"] == left.clock()


async def test_states_are_known_by_name_when_the_schema_has_changed(
    world: World, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve(
        first := machine(schema={"A": State(), "B": State(), "C": State()}), persist=path
    )
    first.add("A", "B", "C")
    first.remove("A")
    await mux.stop()
    second = machine(schema={"New": State(), "C": State(), "A": State()})
    mux = await world.serve(second, persist=path)
    assert second.clock() == {"New": 0, "C": 1, "A": 2, "Exception": 0}
    assert second.active_states() == ["C"]
    assert "gone are B; new are New" in caplog.text
    second.add("New")
    await mux.stop()
    # A state that comes back goes on as well: nobody sees it go back.
    third = machine(schema={"A": State(), "B": State(), "New": State()})
    await world.serve(third, persist=path)
    assert third.clock() == {"A": 2, "B": 1, "New": 1, "Exception": 0}


async def test_a_schema_that_grows_while_it_is_served_is_kept(world: World, path: Path) -> None:
    first = machine(schema={"A": State()})
    mux = await world.serve(first, persist=path)
    client = await world.follow()
    first.add("A")
    first.set_schema({"Before": State(), "A": State(), "B": State()})
    await soon(client.net_mach.add("A"))
    first.add("B")
    await soon(client.net_mach.remove("A"))
    assert kept(path)["src"] == first.clock() == {"Before": 0, "A": 2, "B": 1, "Exception": 0}
    await mux.stop()


async def test_the_same_machine_is_served_by_the_next_mux(world: World, path: Path) -> None:
    source = machine()
    mux = await world.serve(source, persist=path)
    source.add("A")
    await mux.stop()
    source.add("B")
    await world.serve(source, persist=path)
    assert source.machine_tick == 0
    assert kept(path)["src"] == source.clock()


async def test_a_long_file_is_replaced_by_a_short_one(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persist, "REPLACE_SIZE", 2000)
    source = machine()
    mux = await world.serve(source, persist=path)
    client = await world.follow()
    longest = 0
    for _ in range(200):
        await soon(client.net_mach.add("Multi"))
        assert kept(path)["src"] == source.clock()
        longest = max(longest, path.stat().st_size)
    metrics = mux.metrics()
    assert metrics["persist_replaced"] > 2
    assert metrics["persist_bytes"] > longest
    assert longest < 2200


# What cannot be kept.


async def refused(world: World, source: Machine, path: Path) -> PersistFailed:
    mux = Mux(source, bind="mem://other", transport=world.network.transport(), persist=path)
    with pytest.raises(PersistFailed) as caught:
        await mux.start()
    assert str(path) in str(caught.value)
    assert not mux.mach.is_("Start")
    return caught.value


async def test_who_was_refused_may_try_again(world: World, path: Path) -> None:
    first = await world.serve(persist=path)
    source = machine()
    other = Mux(source, bind="mem://other", transport=world.network.transport(), persist=path)
    with pytest.raises(PersistFailed, match="another Mux uses it"):
        await other.start()
    first.source.add("A")
    await first.stop()
    async with other:
        assert source.is_("A")
        source.add("B")
        other.flush()
        assert kept(path)["src"] == source.clock()


async def test_a_machine_that_has_gone_another_way_is_refused(world: World, path: Path) -> None:
    mux = await world.serve(first := machine(), persist=path)
    first.add("A")
    first.remove("A")
    await mux.stop()
    before = path.read_bytes()
    begun = machine()
    begun.add("A")
    error = await refused(world, begun, path)
    assert "has begun already, and is behind its file: A 1 (kept: 2)" in str(error)
    assert "before the first mutation" in str(error)
    assert path.read_bytes() == before
    assert begun.clock()["A"] == 1


async def test_a_file_of_another_machine_is_refused(world: World, path: Path) -> None:
    mux = await world.serve(machine("front"), persist=path)
    await mux.stop()
    error = await refused(world, machine("back"), path)
    assert "keeps the clock of front, not of back" in str(error)


async def test_a_file_in_use_is_refused_and_left_alone(world: World, path: Path) -> None:
    first = machine()
    await world.serve(first, persist=path)
    error = await refused(world, machine(), path)
    assert "another Mux uses it" in str(error)
    client = await world.follow()
    await soon(client.net_mach.add("A"))
    assert kept(path)["src"] == first.clock()


async def test_a_damaged_file_is_refused_as_a_whole_and_left_alone(
    world: World, path: Path
) -> None:
    mux = await world.serve(first := machine(), persist=path)
    first.add("A")
    mux.flush()
    data = bytearray(path.read_bytes())
    await mux.stop()
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    source = machine()
    error = await refused(world, source, path)
    assert "does not fit its checksum" in str(error)
    assert "restore a copy" in str(error)
    assert path.read_bytes() == data
    assert not any(source.time())
    # Who moves it away begins anew.
    path.unlink()
    await world.serve(source, persist=path)


async def test_a_torn_write_is_left_out_and_told(
    world: World, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve(first := machine(), persist=path)
    first.add("A")
    mux.flush()
    whole = path.read_bytes()
    first.add("B")
    mux.flush()
    longer = path.read_bytes()
    await mux.stop()
    path.write_bytes(longer[:-3])
    again = machine()
    mux = await world.serve(again, persist=path)
    assert again.active_states() == ["A"]
    torn = len(longer) - 3 - len(whole)
    assert mux.metrics()["persist_torn_bytes"] == torn
    assert f"cut short by a crash: its last {torn} bytes" in caplog.text
    assert read(path.read_bytes()).torn == 0


async def test_a_file_that_cannot_be_made_is_one_clear_error(world: World, path: Path) -> None:
    error = await refused(world, machine(), path / "deeper")
    assert "No such file or directory" in str(error)
    assert "check that the folder exists" in str(error)
    path.mkdir()
    assert "Is a directory" in str(await refused(world, machine(), path))


async def test_a_full_disk_at_the_start_is_one_clear_error(
    world: World, path: Path, disk: Disk
) -> None:
    disk.is_full = True
    error = await refused(world, source := machine(), path)
    assert "No space left on device" in str(error)
    disk.is_full = False
    await world.serve(source, persist=path)


def test_a_policy_that_there_is_not_is_an_error_that_names_them() -> None:
    with pytest.raises(RpcError, match=r"fsync='maybe'.* 'always', 'interval', 'never'"):
        Mux(machine(), persist="clocks", fsync="maybe")  # type: ignore[arg-type]


def test_a_closed_file_can_be_opened_by_others(path: Path) -> None:
    first, second = ClockFile(path), ClockFile(path)
    first.open()
    with pytest.raises(PersistFailed, match="another Mux uses it"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_forked_child_does_not_keep_the_lock_of_its_parent(path: Path) -> None:
    first, second = ClockFile(path), ClockFile(path)
    first.open()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with warnings.catch_warnings():
            # Other tests may have left threads that do not end at once; this child runs nothing.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            theirs.send(b".")
            theirs.recv(1)
            os._exit(0)
        ours.settimeout(PATIENCE_S)
        try:
            assert ours.recv(1) == b"."
            first.close()
            second.open()
            second.close()
        finally:
            ours.send(b".")
            os.waitpid(child, 0)


# When the disk fails meanwhile.


async def fails(client: Client, state: str, error: type[AmzmqError]) -> None:
    with pytest.raises(error, match="No space left on device"):
        await soon(client.net_mach.add(state))


async def test_nothing_is_acknowledged_or_shown_that_is_not_written(
    world: World, path: Path, disk: Disk
) -> None:
    source = machine()
    mux = await world.serve(source, persist=path, heartbeat=0.05)
    client, other = await world.follow("client"), await world.follow("other")
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    await level(source, client, other)
    shown = tuple(other.net_mach.time())
    disk.is_full = True
    # It has run, and a crash would take it back.
    await fails(client, "B", OutcomeUnknown)
    assert source.is_("B")
    assert isinstance(mux.mach.err(), PersistFailed)
    assert mux.mach.not_("Ready")
    # From now on nothing is run at all.
    ticks = source.clock()
    await fails(client, "Multi", NotConnected)
    assert source.clock() == ticks
    late = world.client("late")
    late.start()
    await until(lambda: mux.counters.hellos > 2)
    assert late.mach.not_("Ready")
    assert tuple(other.net_mach.time()) == tuple(client.net_mach.time()) == shown
    assert mux.metrics()["persist_withheld"] > 0
    disk.is_full = False
    await until(lambda: mux.mach.is_("Ready"))
    await soon(late.ready())
    await level(source, client, other, late)
    assert await soon(client.net_mach.add("Multi")) == Result.EXECUTED
    assert kept(path)["src"] == source.clock()
    assert mux.metrics()["persist_failed"] > 0
    assert mux.mach.not_("Exception")


@pytest.mark.parametrize("fsync", ["interval", "never"])
async def test_a_source_that_does_not_wait_for_its_disk_goes_on_without(
    world: World, path: Path, disk: Disk, fsync: Any
) -> None:
    source = machine()
    mux = await world.serve(source, persist=path, fsync=fsync)
    client = await world.follow()
    disk.is_full = True
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    assert mux.mach.not_("Ready")
    assert await soon(client.net_mach.add("B")) == Result.EXECUTED
    assert is_level(client, source)
    disk.is_full = False
    await until(lambda: mux.mach.is_("Ready"))
    assert kept(path)["src"] == source.clock()


async def test_a_source_that_stops_while_its_disk_is_full_says_what_is_lost(
    world: World, path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve(source := machine(), persist=path)
    disk.is_full = True
    source.add("A")
    mux.flush()
    await mux.stop()
    assert "what changed since it was last written is lost" in caplog.text
    disk.is_full = False
    await world.serve(again := machine(), persist=path)
    assert again.not_("A")


# What it costs.


async def test_mutations_that_arrive_together_share_a_write_and_a_sync(
    path: Path, disk: Disk
) -> None:
    source = machine()
    async with Mux(source, persist=path) as mux, Client(mux.addr, **QUICK) as client:
        before = mux.metrics()["persist_commits"], disk.syncs
        calls = [client.net_mach.add("Multi") for _ in range(100)]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*calls)
        after = mux.metrics()["persist_commits"], disk.syncs
    assert after[0] - before[0] == after[1] - before[1] < 50
    assert source.tick("Multi") == 199


async def test_syncs_by_interval_do_not_grow_with_the_mutations(
    world: World, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persist, "SYNC_INTERVAL", 0.02)
    mux = await world.serve(source := machine(), persist=path, fsync=Fsync.INTERVAL)
    client = await world.follow()
    source.add("A")
    await until(lambda: disk.syncs == mux.metrics()["persist_syncs"] > 0)
    monkeypatch.setattr(persist, "SYNC_INTERVAL", 3600.0)
    for _ in range(20):
        await soon(client.net_mach.add("Multi"))
    assert disk.syncs < 10
    assert kept(path)["src"] == source.clock()


async def test_a_source_that_is_told_nothing_of_files_keeps_none(
    world: World, tmp_path: Path
) -> None:
    mux = await world.serve()
    client = await world.follow()
    await soon(client.net_mach.add("A"))
    assert not [name for name in mux.metrics() if name.startswith("persist")]
    assert list(tmp_path.iterdir()) == []
