"""A source killed in the middle of its work, and the next one on its file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from amzmq import Client
from amzmq.errors import CallTimeout, NotConnected, OutcomeUnknown
from amzmq.machine import ClockObserver

from ..rig import QUICK, soon, until
from ..test_processes import Host

CLIENTS = 4


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with AsyncExitStack() as stack:
        yield Host(stack)


class Worker:
    """A client that adds and removes a state of its own: each mutation that runs is one tick."""

    def __init__(self, client: Client, state: str) -> None:
        self.client = client
        self.state = state
        self.acknowledged = 0
        self.unknown = 0
        self.wants_active = True

    async def work(self) -> None:
        while True:
            net = self.client.net_mach
            change = net.add if self.wants_active else net.remove
            try:
                await change(self.state)
            except NotConnected:
                await self.look()  # it did not run
            except (OutcomeUnknown, CallTimeout):
                self.unknown += 1
                await self.look()
            else:
                self.acknowledged += 1
                self.wants_active = not self.wants_active

    async def look(self) -> None:
        """Where the next source went on; its clock tells what became of the last one."""
        async with asyncio.timeout(20):
            await self.client.mach.when("Ready")
        self.wants_active = not self.client.net_mach.is_(self.state)


class Watcher:
    """A follower that notes each clock that it is shown."""

    def __init__(self, client: Client) -> None:
        self.times: list[tuple[int, ...]] = []
        self._net = client.net_mach
        self._loop = asyncio.get_running_loop()
        self._observer = ClockObserver(self._wake)
        self._net.observe_clock(self._observer)

    def _wake(self) -> None:
        self._loop.call_soon(self._note)

    def _note(self) -> None:
        self._net.read_changes(self._observer)
        self.times.append((self._net.machine_tick, *self._net.time()))


async def progress(workers: list[Worker], count: int) -> None:
    """Waits until each has so many more acknowledged."""
    target = [it.acknowledged + count for it in workers]
    await until(lambda: all(it.acknowledged >= at for it, at in zip(workers, target, strict=True)))


@pytest.mark.parametrize(("fsync", "crashes"), [("always", 2), ("never", 1)])
async def test_what_was_acknowledged_outlives_kill_9_exactly_once(
    host: Host, tmp_path: Path, fsync: str, crashes: int
) -> None:
    options: dict[str, Any] = {
        "clients": CLIENTS, "path": str(tmp_path / "clocks"), "fsync": fsync,
    }  # fmt: skip
    source = await host.run("keeper", **options)
    options |= {"bind": source.hello["addr"], "feed": source.hello["feed"]}
    async with AsyncExitStack() as stack:
        follower = await stack.enter_async_context(Client(options["bind"], **QUICK))
        workers = [
            Worker(await stack.enter_async_context(Client(options["bind"], **QUICK)), f"S{n}")
            for n in range(CLIENTS)
        ]
        watcher = Watcher(follower)
        tasks = [asyncio.create_task(it.work()) for it in workers]
        try:
            for crash in range(1, crashes + 1):
                await progress(workers, 20)
                source.process.kill()
                await source.process.communicate()
                source = await host.run("keeper", **options)
                assert source.hello["machine_tick"] == crash
                for worker in workers:
                    # All that it knows of, and those of which nobody can know.
                    ticks = source.hello["ticks"][worker.state]
                    assert worker.acknowledged <= ticks
                    assert ticks <= worker.acknowledged + worker.unknown + 1
            await progress(workers, 5)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [error for error in ended if not isinstance(error, asyncio.CancelledError)] == []
        for before, after in zip(watcher.times, watcher.times[1:], strict=False):
            assert all(now >= then for then, now in zip(before, after, strict=True))
        assert watcher.times[-1][0] == crashes
        clock = (await source.ask("clock"))["ticks"]
        for worker in workers:
            assert 0 <= clock[worker.state] - worker.acknowledged <= worker.unknown + 1
        await soon(follower.sync())


async def test_two_processes_do_not_share_a_file(host: Host, tmp_path: Path) -> None:
    options = {"clients": 1, "path": str(tmp_path / "clocks")}
    first = await host.run("keeper", **options)
    second = await host.run("keeper", **options)
    assert second.hello["error"] == "PersistFailed"
    assert "another Mux uses it" in second.hello["message"]
    await first.kill()
    # A lock ends with its process, however that ended.
    third = await host.run("keeper", **options)
    assert "addr" in third.hello


async def test_the_process_of_another_machine_leaves_the_file_alone(
    host: Host, tmp_path: Path
) -> None:
    path = tmp_path / "clocks"
    first = await host.run("keeper", clients=1, path=str(path))
    await first.stop()
    before = path.read_bytes()
    other = await host.run("keeper", clients=1, path=str(path), id="other")
    assert other.hello["error"] == "PersistFailed"
    assert "keeps the clock of src, not of other" in other.hello["message"]
    assert path.read_bytes() == before
