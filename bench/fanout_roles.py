"""What both sides of a fan-out do, whichever system carries the updates.

Three parts, one behind the other: updates at the pace of the slowest follower, a burst at full
speed, and single updates at a rate nobody has to queue for. The first tells of throughput, the
second how soon all have it, the third of the delay.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from bench.channel import Channel
from bench.pace import Gate, Stopwatch, reached
from bench.report import BenchError

Send = Callable[[int, int], Awaitable[None]]
"""Publishes the updates numbered from the first up to, but not including, the second."""


@dataclass(frozen=True)
class Plan:
    """How much one run does.

    Attributes:
        updates: At the followers' pace.
        burst: At full speed.
        singles: One by one.
        interval_s: Between those.
        chunk: After so many updates a process of followers tells that it has them.
    """

    updates: int
    burst: int = 1_000
    singles: int = 200
    interval_s: float = 0.002
    chunk: int = 250

    def goals(self) -> list[int]:
        """The numbers of updates that the followers tell of."""
        base = self.updates + self.burst
        paced = range(self.chunk, self.updates, self.chunk)
        return [*paced, *range(self.updates, base, self.chunk), base, self.total]

    @property
    def total(self) -> int:
        """All updates of a run."""
        return self.updates + self.burst + self.singles

    def as_params(self) -> dict[str, Any]:
        """The plan as plain values."""
        return asdict(self)


class Publishing(NamedTuple):
    """How a system publishes.

    Attributes:
        each: Every update on its own.
        burst: As fast as the system likes.
        state: What all followers have to end with.
        published: How many updates were, where the system itself could merge them.
    """

    each: Send
    burst: Send
    state: Callable[[], Sequence[int]]
    published: Callable[[], int] | None = None


class Replica(Protocol):
    """One follower. `log` is what `watch` has it note: updates so far, and when, in ns."""

    log: list[tuple[int, int]]

    def count(self) -> int:
        """How many updates it has."""

    def watch(self) -> None:
        """Note in `log` when updates come, from now on."""

    def state(self) -> list[int]:
        """What it holds."""


async def publish(
    channel: Channel, fds: Sequence[int], plan: Plan, publishing: Publishing, broker: int = 0
) -> None:
    """The source's side, once all followers are there."""
    loop, now = asyncio.get_running_loop(), time.monotonic_ns
    each, burst, state, published = publishing
    before = published() if published else 0
    gate, watch = Gate(fds, plan.goals()), Stopwatch(broker)
    for first, last in pairwise([0, *range(plan.chunk, plan.updates, plan.chunk), plan.updates]):
        await each(first, last)
        await gate.open(last)
    await gate.open(plan.updates, window=1)
    figures = watch.per_update(plan.updates)
    if published and (count := published() - before) != plan.updates:
        raise BenchError(f"{plan.updates} updates were published as {count}")
    began, base = now(), plan.updates + plan.burst
    await burst(plan.updates, base)
    burst_us = (now() - began) / 1e3
    await gate.open(base, window=1)
    sent, due, watch = [], loop.time(), Stopwatch(broker)
    for number in range(base, plan.total):
        sent.append(now())
        await each(number, number + 1)
        due += plan.interval_s
        await asyncio.sleep(due - loop.time())
    singles = {f"single_{name}": value for name, value in watch.per_update(plan.singles).items()}
    await gate.open(plan.total, window=1)
    channel.send(
        **figures,
        **singles,
        burst_began=began,
        burst_us=burst_us,
        sent=sent,
        state=list(state()),
    )
    await channel.receive_async()


async def follow(
    channel: Channel, fd: int, plan: Plan, replicas: Sequence[Replica], **extra: float
) -> None:
    """The followers' side, once all of them are connected; `extra` is told with the rest."""
    channel.send(ready=True)
    for goal in plan.goals():
        await reached(lambda at: replicas[at].count(), len(replicas), goal)
        if goal == plan.updates:
            for replica in replicas:
                replica.watch()
        os.write(fd, b".")
    base = plan.updates + plan.burst
    channel.send(
        **extra,
        states=[replica.state() for replica in replicas],
        burst_ended=max(_when(replica.log, base) for replica in replicas),
        seen=[
            [_when(replica.log, number) for number in range(base + 1, plan.total + 1)]
            for replica in replicas
        ],
    )
    await channel.receive_async()


def _when(log: Sequence[tuple[int, int]], count: int) -> int:
    """When a replica first had so many updates."""
    return log[bisect_left(log, count, key=lambda entry: entry[0])][1]
