"""Clients that come and go leave nothing behind: no descriptor, task, thread, or memory.

150 rounds by default; AMZMQ_SOAK=1 makes it a thousand.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from amzmq.machine import Machine, Result, State
from amzmq.rpc import Client, Mux
from amzmq.wire.journal import JournalLimits

SOAK = os.environ.get("AMZMQ_SOAK") == "1"
ROUNDS = 1000 if SOAK else 150
WARM_UP = 300
"""More rounds than a Mux keeps clients that went, in case they come back."""

EVERY = 10
"""Rounds between two looks."""

SLOPE = 64 + 128 * 1024 / ROUNDS
"""Bytes a round that memory may seem to grow by: an entry in a dict is more, and caches that fill
once may have 128 KiB. A client that is forgotten has some thousand bytes, its server as well."""

RESIDENT_SLOPE = 4096 + 1024 * 1024 / ROUNDS
"""The same of what the process has in memory, libzmq's part included: a socket has more."""

LEAK = 1024.0

PATIENCE_S = 10.0

pytestmark = pytest.mark.timeout(600)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs (Theil and Sen): a few outliers change nothing."""
    pairs = [(a, b) for i, a in enumerate(points) for b in points[i + 1 :]]
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs)


@dataclass(slots=True)
class Held:
    """What the process holds, look by look."""

    fds: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    resident: list[tuple[float, float]] = field(default_factory=list)

    def look(self, round_: int) -> None:
        gc.collect()
        self.fds.append(len(os.listdir("/proc/self/fd")))
        self.tasks.append(len(asyncio.all_tasks()))
        self.threads.append(threading.active_count())
        self.memory.append((round_, tracemalloc.get_traced_memory()[0]))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident.append((round_, pages * os.sysconf("SC_PAGESIZE")))

    def check(self, report: str) -> None:
        """Nothing but the noise of memory may have changed."""
        for counts in (self.fds, self.tasks, self.threads):
            assert set(counts) == {counts[0]}
        allocated, resident = slope(self.memory), slope(self.resident)
        print(
            f"{report}: {allocated:.1f} B a round allocated, {resident:.0f} B resident; "
            f"{self.fds[0]} descriptors, {self.threads[0]} threads, {self.tasks[0]} tasks"
        )
        assert allocated < SLOPE
        assert resident < RESIDENT_SLOPE


@contextmanager
def traced() -> Iterator[None]:
    """From before the warm-up on: what replaces untraced memory would look like growth."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


async def visit(addr: str) -> None:
    """One round: come, read, write, go."""
    async with asyncio.timeout(PATIENCE_S):
        async with Client(addr, disconn_cooldown=0.0) as client:
            assert await client.net_mach.add("Tick") == Result.EXECUTED
            assert client.net_mach.is_("Tick")


def source() -> Machine:
    return Machine({"Tick": State(multi=True), "Other": State()}, id="src")


async def gone(mux: Mux) -> None:
    """Waits until the source has seen the last client go as well."""
    async with asyncio.timeout(PATIENCE_S):
        await mux.mach.when_not("HasClients")


async def test_clients_that_come_and_go_leave_nothing_behind() -> None:
    machine, held = source(), Held()
    with traced():
        async with Mux(machine, journal=JournalLimits(messages=50)) as mux:
            for round_ in range(-WARM_UP, ROUNDS + 1):
                await visit(mux.addr)
                if round_ >= 0 and round_ % EVERY == 0:
                    await gone(mux)
                    held.look(round_)
        assert machine.tick("Tick") == 2 * (WARM_UP + ROUNDS + 1) - 1
    held.check(f"{ROUNDS} clients of one source")


async def test_sources_that_come_and_go_leave_nothing_behind() -> None:
    held = Held()

    async def round_trip() -> None:
        async with Mux(source()) as mux:
            await visit(mux.addr)

    with traced():
        for round_ in range(-3 * EVERY, ROUNDS + 1):
            await round_trip()
            if round_ >= 0 and round_ % EVERY == 0:
                held.look(round_)
    held.check(f"{ROUNDS} sources, a client each")


def test_the_slope_is_that_of_the_growth_and_not_of_its_outliers() -> None:
    level = [(n, 1_000_000.0 + 40 * (n % 3)) for n in range(0, 150, 10)]
    level[3] = (30, 9_000_000.0)
    assert abs(slope(level)) < SLOPE
    leaking = [(n, y + LEAK * n) for n, y in level]
    assert slope(leaking) == pytest.approx(LEAK, abs=SLOPE)
    assert slope(leaking) > SLOPE


async def test_a_client_that_is_forgotten_would_be_seen() -> None:
    held, kept = Held(), []
    with traced():
        for round_ in range(0, 50, EVERY):
            kept.append(bytearray(int(EVERY * 2 * LEAK)))
            held.look(round_)
    with pytest.raises(AssertionError):
        held.check("leaking")
