"""What a connected client costs while nothing happens: at its own end, and at the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from bench.channel import Message
from bench.fanout import CONNECT_S, case_of
from bench.report import Figure, Ratio, Report, in_turn, summarize
from bench.workers import Worker

NAME = "idle"
RUNS = 5
OURS, RAW = "amzmq", "raw pyzmq"
RARELY = "amzmq, a heartbeat of 3 s"
SHARED = "amzmq, replicas of a process share"


class System(NamedTuple):
    """What is at rest.

    Attributes:
        module: Where its roles are, `source` and `followers`.
        source: Options of the source, by name.
        followers: Of the followers.
    """

    module: str
    source: Mapping[str, Any]
    followers: Mapping[str, Any]


# Whether the replicas of a process share what they can, or stand for programs of their own.
SYSTEMS = {
    OURS: System("bench.idle_amzmq", {"heartbeat": 1.0}, {"shared": False}),
    RARELY: System("bench.idle_amzmq", {"heartbeat": 3.0}, {"shared": False}),
    SHARED: System("bench.idle_amzmq", {"heartbeat": 1.0}, {"shared": True}),
    RAW: System("bench.idle_raw", {}, {}),
}

PROCESS_FOLLOWERS = 250
"""Followers of one process, at most: each has two sockets, and a process about a thousand."""


@dataclass(frozen=True)
class Scale:
    """How many followers, case by case, and how long to look."""

    followers: tuple[int, ...]
    window_s: float


FULL = Scale((1, 200, 1000), 12.0)
QUICK = Scale((1, 3), 0.2)


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure all numbers of followers in turn."""
    scale = QUICK if quick else FULL
    each = [
        partial(measure, system, followers, scale.window_s)
        for followers in scale.followers
        for system in SYSTEMS
    ]
    samples = in_turn(each, runs)
    largest = case_of(scale.followers[-1])
    memory = (Figure(name, largest, "memory a client at the source", "KiB") for name in (OURS, RAW))
    return summarize(NAME, samples, [Ratio("idle_memory/raw", *memory)])


def measure(system: str, followers: int, window_s: float) -> Mapping[Figure, float]:
    """One run: the first follower of each process, then the others, then rest."""
    module, of_source, of_followers = SYSTEMS[system]
    processes = -(-followers // PROCESS_FOLLOWERS)
    share = {"followers": followers // processes, "window_s": window_s, **of_followers}
    with ExitStack() as stack:
        source = stack.enter_context(Worker(f"{module}:source", window_s=window_s, **of_source))
        addrs = source.receive()
        clients = [
            stack.enter_context(Worker(f"{module}:followers", **share)) for _ in range(processes)
        ]
        for client in clients:
            client.send(**addrs)
            client.receive()
        before = _told((source, *clients), first=True)
        _told(clients, others=True)
        after = _told((source, *clients), rest=True)
        for worker in (*clients, source):
            worker.finish()
    case = case_of(followers)
    figures = {
        Figure(system, case, metric, "us/s"): sum(said["cpu_us_per_s"] for said in end)
        for metric, end in (("CPU of the followers", after[1:]), ("CPU of the source", after[:1]))
    }
    grown = [
        now["memory_kib"] - then["memory_kib"] for now, then in zip(after, before, strict=True)
    ]
    if others := followers - processes:
        for end, kib in (("its own end", sum(grown[1:])), ("the source", grown[0])):
            figures[Figure(system, case, f"memory a client at {end}", "KiB")] = kib / others
    else:
        memory = Figure(system, case, "memory of the followers' process", "KiB")
        figures[memory] = after[1]["memory_kib"]
    return figures


def _told(workers: Sequence[Worker], **what: bool) -> list[Message]:
    """What workers say to a message."""
    for worker in workers:
        worker.send(**what)
    return [worker.receive(CONNECT_S) for worker in workers]
