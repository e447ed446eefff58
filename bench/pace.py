"""The pace of a fan-out: the source stays a bounded number of updates ahead of the slowest.

Raw and ours use the same, so that neither wins by having its queues overflow. The followers'
process writes one byte into a pipe whenever all of its replicas have finished a chunk.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable

from bench.channel import PATIENCE_S
from bench.report import BenchError

# Below every high-water mark on the way, far above what is in flight in a millisecond.
WINDOW = 2_000
CHUNK = 250
POLL_S = 0.001


class Gate:
    """The source's side."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._finished = 0

    def open(self, sent: int, window: int = WINDOW) -> None:
        """Block while `sent` is that far ahead."""
        while sent - self._finished >= window:
            if not select.select([self._fd], [], [], PATIENCE_S)[0]:
                self._too_slow(sent)
            self._read()

    async def open_async(self, sent: int, window: int = WINDOW) -> None:
        """The same for an event loop."""
        loop = asyncio.get_running_loop()
        while sent - self._finished >= window:
            readable = asyncio.Event()
            loop.add_reader(self._fd, readable.set)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await readable.wait()
            except TimeoutError:
                self._too_slow(sent)
            finally:
                loop.remove_reader(self._fd)
            self._read()

    def _read(self) -> None:
        data = os.read(self._fd, 4096)
        if not data:
            raise BenchError("the followers are gone")
        self._finished += len(data) * CHUNK

    def _too_slow(self, sent: int) -> None:
        raise BenchError(
            f"of {sent} updates the slowest follower has {self._finished} after "
            f"{PATIENCE_S:.0f} s: was one lost?"
        )


async def tell_progress(
    fd: int, progress: Callable[[int], int], followers: int, updates: int
) -> None:
    """The followers' side: look every millisecond, in both systems alike.

    Args:
        fd: The pipe.
        progress: How many updates the follower of this number has.
        followers: How many there are.
        updates: How many updates there will be, a multiple of the chunk.
    """
    for goal in range(CHUNK, updates + 1, CHUNK):
        until = time.monotonic() + PATIENCE_S
        for follower in range(followers):
            while progress(follower) < goal:
                if time.monotonic() > until:
                    raise BenchError(
                        f"follower {follower} of {followers} has {progress(follower)} updates, "
                        f"not {goal}: was one lost?"
                    )
                await asyncio.sleep(POLL_S)
        os.write(fd, b".")


class Stopwatch:
    """Wall time, and CPU time of this thread and of the whole process."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.perf_counter(), time.thread_time(), time.process_time()

    def per_update(self, updates: int) -> dict[str, float]:
        """Seconds since the start, and microseconds an update."""
        wall, thread, process = (b - a for a, b in zip(self._start, self._now(), strict=True))
        return {
            "wall_s": wall,
            "thread_us": thread * 1e6 / updates,
            "process_us": process * 1e6 / updates,
        }
