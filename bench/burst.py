"""A burst of mutations at full speed, until the last of many followers holds the source's tick."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.burst_amzmq import PLAIN, THREAD, TURNS
from bench.report import Contestant, Figure, Report, in_turn, summarize
from bench.workers import Worker, check_equal

NAME = "burst"
RUNS = 5
PROCESSES, EACH = 2, 50
CONNECT_S = 180.0
CONVERGED = "last follower has all", "ms"
CPU = "source process CPU", "ms"
BYTES = "bytes a client", "B"
RATE = "mutations meanwhile", "1/s"


@dataclass(frozen=True)
class System:
    """One way to mutate.

    Attributes:
        name: In the report.
        mode: Of `burst_amzmq.mutate`.
        push_interval: Seconds that the Mux waits between two updates; 0 for none.
        shared: Whether the replicas of a process share what they can, or stand for programs.
    """

    name: str
    mode: str
    push_interval: float = 0.0
    shared: bool = False


SYSTEMS = (
    System("amzmq", PLAIN),
    System("amzmq, replicas of a process share", PLAIN, shared=True),
    System("amzmq, a loop turn a mutation", TURNS),
    System("amzmq, from a thread", THREAD),
    System("amzmq, from a thread, pushed every 1 ms", THREAD, push_interval=0.001),
    System("amzmq, from a thread, pushed every 250 ms", THREAD, push_interval=0.25),
)


@dataclass(frozen=True)
class Scale:
    """How much one run does.

    Attributes:
        pairs: So often add C and remove C.
        followers: How many, case by case.
    """

    pairs: int
    followers: tuple[int, ...]


FULL = Scale(500, (10, 100, 500))
QUICK = Scale(20, (4,))


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure all ways in turn, with the followers in the source's process and in others."""
    scale = QUICK if quick else FULL
    samples: dict[Figure, list[float]] = {}
    for followers in scale.followers:
        samples |= in_turn(contestants(followers, scale.pairs), runs)
    return summarize(NAME, samples)


def contestants(followers: int, pairs: int) -> list[Contestant]:
    """All that takes turns, of one number of followers."""
    return [
        partial(measure, system, followers, pairs)
        for measure in (in_one_process, in_others)
        for system in SYSTEMS
    ]


def in_one_process(system: System, followers: int, pairs: int) -> Mapping[Figure, float]:
    """Source and followers share one process, as the reference was measured."""
    with Worker("bench.burst_amzmq:both", followers=followers, **_how(system, pairs)) as worker:
        worker.send(go=True)
        found = worker.receive(CONNECT_S)
        check_equal(found, found, followers)
        worker.finish()
    case = f"{followers} followers in the source's process"
    return _figures(system, case, found, found["wall_ms"])


def in_others(system: System, followers: int, pairs: int) -> Mapping[Figure, float]:
    """The followers live in other processes."""
    processes = PROCESSES if followers >= EACH else 1
    shares = [len(range(at, followers, processes)) for at in range(processes)]
    with ExitStack() as stack:
        source = stack.enter_context(
            Worker("bench.burst_amzmq:source", followers=followers, **_how(system, pairs))
        )
        groups = [
            stack.enter_context(
                Worker("bench.burst_amzmq:followers", followers=share, shared=system.shared)
            )
            for share in shares
        ]
        told = source.receive()
        for group in groups:
            group.send(**told)
        for group in groups:
            group.receive(CONNECT_S)
        source.send(go=True)
        ends = [group.receive() for group in groups]
        source.send(converged=True)
        found = source.receive()
        check_equal(found, {"states": [s for end in ends for s in end["states"]]}, followers)
        for worker in (*groups, source):
            worker.finish()
    last = max(end["ended"] for end in ends)
    case = f"{followers} followers in other processes"
    return _figures(system, case, found, (last - found["began"]) / 1e6)


def _how(system: System, pairs: int) -> dict[str, Any]:
    return {
        "mode": system.mode,
        "push_interval": system.push_interval,
        "shared": system.shared,
        "pairs": pairs,
    }


def _figures(
    system: System, case: str, found: Mapping[str, Any], converged_ms: float
) -> Mapping[Figure, float]:
    values = {
        CONVERGED: converged_ms,
        CPU: found["cpu_ms"],
        BYTES: found["bytes"],
        RATE: found["rate"],
    }
    return {Figure(system.name, case, *metric): value for metric, value in values.items()}
