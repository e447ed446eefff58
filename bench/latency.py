"""Calls: how long each takes, and how many go at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bench.channel import Channel
from bench.report import BenchError

Call = Callable[[], Awaitable[object]]


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The smallest value that at least `percent` of all do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def report_latencies(channel: Channel, nanoseconds: Sequence[int], states: Any) -> None:
    """Send what a client found."""
    ordered = sorted(nanoseconds)
    channel.send(
        p50_us=percentile(ordered, 50) / 1e3,
        p99_us=percentile(ordered, 99) / 1e3,
        calls_per_s=len(ordered) * 1e9 / sum(ordered),
        states=states,
    )


class RateWatch:
    """What a client with many calls in flight found, from its start on."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def report(self, channel: Channel, calls: int, states: Any) -> None:
        """Send it."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        channel.send(calls_per_s=calls / wall, cpu_us=cpu * 1e6 / calls, states=states)


async def one_by_one(call: Call, calls: int) -> list[int]:
    """Await one call after the other; nanoseconds of each."""
    latencies, now = [], time.perf_counter_ns
    for _ in range(calls):
        start = now()
        await call()
        latencies.append(now() - start)
    return latencies


async def in_flight(call: Call, calls: int, window: int) -> None:
    """Make so many calls, of which `window` are under way at a time."""
    if calls % window:
        raise BenchError(f"{calls} calls are no multiple of the window, {window}")

    async def lane() -> None:
        for _ in range(calls // window):
            await call()

    async with asyncio.TaskGroup() as group:
        for _ in range(window):
            group.create_task(lane())
