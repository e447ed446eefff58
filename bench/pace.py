"""The pace of a fan-out: the source stays a bounded number of updates ahead of the slowest.

All systems use the same, so that none wins by having its queues overflow. Each process of
followers writes one byte into its pipe whenever all of its replicas have reached the next goal.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from bench import brokers
from bench.channel import PATIENCE_S
from bench.report import BenchError

# Below every high-water mark on the way, far above what is in flight in a millisecond.
WINDOW = 2_000
POLL_S = 0.001


class Gate:
    """The source's side.

    Args:
        fds: The pipes, one of each process of followers.
        goals: The numbers of updates that a byte stands for, one behind the other.
    """

    def __init__(self, fds: Sequence[int], goals: Sequence[int]) -> None:
        self._reached = dict.fromkeys(fds, 0)
        self._goals = (0, *goals)

    async def open(self, sent: int, window: int = WINDOW) -> None:
        """Wait while the slowest is that far behind."""
        while sent - self._finished() >= window:
            await self._read(sent)

    def _finished(self) -> int:
        return self._goals[min(self._reached.values())]

    async def _read(self, sent: int) -> None:
        """Wait for the slowest process to get on; the others' bytes keep in their pipes."""
        loop = asyncio.get_running_loop()
        slowest = min(self._reached, key=self._reached.__getitem__)
        readable = asyncio.Event()
        loop.add_reader(slowest, readable.set)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await readable.wait()
        except TimeoutError:
            raise BenchError(
                f"of {sent} updates the slowest follower has {self._finished()} after "
                f"{PATIENCE_S:.0f} s: was one lost?"
            ) from None
        finally:
            loop.remove_reader(slowest)
        data = os.read(slowest, 4096)
        if not data:
            raise BenchError("the followers are gone")
        self._reached[slowest] += len(data)


async def reached(progress: Callable[[int], int], followers: int, goal: int) -> None:
    """The followers' side: look every millisecond, in all systems alike.

    Args:
        progress: How many updates the follower of this number has.
        followers: How many there are.
        goal: How many updates all of them are to have.

    Raises:
        BenchError: One of them does not get on.
    """
    for follower in range(followers):
        until, before = time.monotonic() + PATIENCE_S, -1
        while (now := progress(follower)) < goal:
            if now != before:
                until, before = time.monotonic() + PATIENCE_S, now
            if time.monotonic() > until:
                raise BenchError(
                    f"follower {follower} of {followers} has {now} updates, not {goal}: "
                    "was one lost?"
                )
            await asyncio.sleep(POLL_S)


class Stopwatch:
    """Wall time, and CPU time of this thread, of the whole process, and of a broker.

    Args:
        broker: The broker's process; 0 for none.
    """

    def __init__(self, broker: int = 0) -> None:
        self._broker = broker
        self._start = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        broker = brokers.cpu_ns(self._broker) / 1e9 if self._broker else 0.0
        return time.perf_counter(), time.thread_time(), time.process_time(), broker

    def per_update(self, updates: int) -> dict[str, float]:
        """Seconds since the start, and microseconds an update."""
        spent = (b - a for a, b in zip(self._start, self._now(), strict=True))
        wall, thread, process, broker = spent
        found = {
            "wall_s": wall,
            "thread_us": thread * 1e6 / updates,
            "process_us": process * 1e6 / updates,
        }
        return found | ({"broker_us": broker * 1e6 / updates} if self._broker else {})
