from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from bench import pace
from bench.fanout_roles import Plan
from bench.pace import Gate, reached
from bench.report import BenchError

GOALS = 100, 200, 250


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    made = [os.pipe(), os.pipe()]
    yield made
    for pair in made:
        for fd in pair:
            os.close(fd)


def gate_of(pipes: list[tuple[int, int]]) -> Gate:
    return Gate([reader for reader, _ in pipes], GOALS)


async def test_gate_is_open_within_the_window(pipes: list[tuple[int, int]]) -> None:
    async with asyncio.timeout(5):
        await gate_of(pipes).open(pace.WINDOW - 1)


async def test_gate_waits_for_the_slowest_process(pipes: list[tuple[int, int]]) -> None:
    gate = gate_of(pipes)
    os.write(pipes[0][1], b"...")
    opened = asyncio.create_task(gate.open(200, window=1))
    os.write(pipes[1][1], b".")
    done, _ = await asyncio.wait([opened], timeout=0.05)
    assert not done
    os.write(pipes[1][1], b".")
    async with asyncio.timeout(5):
        await opened


async def test_gate_tells_when_followers_are_gone() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    try:
        with pytest.raises(BenchError, match="gone"):
            await Gate([reader], GOALS).open(100, window=1)
    finally:
        os.close(reader)


async def test_gate_tells_of_a_loss(
    pipes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE_S", 0.02)
    os.write(pipes[0][1], b".")
    with pytest.raises(BenchError, match="of 200 updates the slowest follower has 0"):
        await gate_of(pipes).open(200, window=1)


async def test_reached_waits_for_every_follower() -> None:
    counts = [5, 0]
    waiting = asyncio.create_task(reached(counts.__getitem__, 2, 5))
    await asyncio.sleep(0)
    assert not waiting.done()
    counts[1] = 5
    async with asyncio.timeout(5):
        await waiting


async def test_reached_names_the_follower_that_does_not_get_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "PATIENCE_S", 0.01)
    with pytest.raises(BenchError, match="follower 1 of 2 has 4 updates, not 5"):
        await reached([5, 4].__getitem__, 2, 5)


def test_goals_end_with_each_part_of_the_plan() -> None:
    assert Plan(25, burst=20, singles=5, chunk=10).goals() == [10, 20, 25, 35, 45, 50]


def test_stopwatch_divides_by_the_updates() -> None:
    watch = pace.Stopwatch()
    sum(range(100_000))
    ten = watch.per_update(10)
    # Two clocks, read one after the other.
    assert ten["process_us"] > ten["thread_us"] * 0.5 > 0
    assert ten["wall_s"] > 0
    assert "broker_us" not in ten


def test_stopwatch_reads_the_brokers_cpu_as_well() -> None:
    watch = pace.Stopwatch(broker=os.getpid())
    sum(range(1_000_000))
    assert watch.per_update(1)["broker_us"] > 0
