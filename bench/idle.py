"""What a connected client costs while nothing happens: at its own end, and at the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from bench.fanout import CONNECT_S, case_of
from bench.report import Figure, Ratio, Report, in_turn, summarize
from bench.workers import Worker

NAME = "idle"
RUNS = 5
OURS, RAW = "amzmq", "raw pyzmq"


class System(NamedTuple):
    """What is at rest.

    Attributes:
        module: Where its roles are, `source` and `followers`.
        options: Of the followers, by name.
    """

    module: str
    options: Mapping[str, Any]


# Whether the replicas of a process share what they can, or stand for programs of their own.
SYSTEMS = {
    OURS: System("bench.idle_amzmq", {"shared": False}),
    "amzmq, replicas of a process share": System("bench.idle_amzmq", {"shared": True}),
    RAW: System("bench.idle_raw", {}),
}


@dataclass(frozen=True)
class Scale:
    """How many followers, case by case, and how long to look."""

    followers: tuple[int, ...]
    window_s: float


FULL = Scale((1, 200), 5.0)
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
    ratio = Ratio(
        "idle_memory/raw",
        *(Figure(name, largest, "memory a client at the source", "KiB") for name in (OURS, RAW)),
    )
    return summarize(NAME, samples, [ratio])


def measure(system: str, followers: int, window_s: float) -> Mapping[Figure, float]:
    """One run: the first follower, then the others, then rest."""
    module, options = SYSTEMS[system]
    with (
        Worker(f"{module}:source", window_s=window_s) as source,
        Worker(f"{module}:followers", followers=followers, window_s=window_s, **options) as client,
    ):
        client.send(**source.receive())
        client.receive()
        source.send(first=True)
        source_before = source.receive()
        client.send(first=True)
        client_before = client.receive()
        client.send(others=True)
        client.receive(CONNECT_S)
        source.send(rest=True)
        client.send(rest=True)
        at_source, at_client = source.receive(), client.receive()
        for worker in (client, source):
            worker.finish()
    case = case_of(followers)
    figures = {
        Figure(system, case, "CPU of the followers' process", "us/s"): at_client["cpu_us_per_s"],
        Figure(system, case, "CPU of the source", "us/s"): at_source["cpu_us_per_s"],
    }
    if others := followers - 1:
        for end, before, after in (
            ("at its own end", client_before, at_client),
            ("at the source", source_before, at_source),
        ):
            grown = (after["memory_kib"] - before["memory_kib"]) / others
            figures[Figure(system, case, f"memory a client {end}", "KiB")] = grown
    else:
        memory = Figure(system, case, "memory of the followers' process", "KiB")
        figures[memory] = at_client["memory_kib"]
    return figures
