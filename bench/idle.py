"""What a connected client costs while nothing happens: at its own end, and at the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from bench.fanout import CONNECT_S, case_of
from bench.report import Figure, Report, in_turn, summarize
from bench.workers import Worker

NAME = "idle"
RUNS = 5
# Whether the replicas of a process share what they can, or stand for programs of their own.
SYSTEMS = {"amzmq": False, "amzmq, replicas of a process share": True}


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
    return summarize(NAME, in_turn(each, runs))


def measure(system: str, followers: int, window_s: float) -> Mapping[Figure, float]:
    """One run: the first follower, then the others, then rest."""
    with (
        Worker("bench.idle_amzmq:source", window_s=window_s) as source,
        Worker(
            "bench.idle_amzmq:followers",
            followers=followers,
            window_s=window_s,
            shared=SYSTEMS[system],
        ) as client,
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
