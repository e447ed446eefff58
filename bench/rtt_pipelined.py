"""Many remote calls of one client in flight, between two processes over TCP loopback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from bench import rtt
from bench.needs import sort_out
from bench.report import Figure, Ratio, Report, in_turn, summarize
from bench.rtt import GRPC, OURS, RAW, RAW_ASYNCIO, RPYC, Pair, System, one_round

NAME = "rtt_pipelined"
RUNS = 7
# Pyro5 has one call in flight for each proxy, and no other way.
SYSTEMS = OURS, RAW, RAW_ASYNCIO, GRPC, RPYC
CALLS, CPU = ("calls", "1/s"), ("client CPU a call", "us")
RATIOS_AT = 128


@dataclass(frozen=True)
class Scale:
    """How much one run does. Both numbers of calls are multiples of every window."""

    calls: int
    warm_up: int
    windows: tuple[int, ...]


FULL = Scale(calls=10_240, warm_up=1_024, windows=(16, RATIOS_AT, 512))
QUICK = Scale(calls=256, warm_up=RATIOS_AT, windows=(RATIOS_AT,))


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure ours, the limits and the peers in turn, for each window."""
    scale = QUICK if quick else FULL
    missing = sort_out({system.name: system.needs for system in SYSTEMS})
    systems = [system for system in SYSTEMS if system.name not in missing]
    with rtt.pairs(systems) as two:
        each = [
            partial(measure, system, scale, window, two[system.name])
            for window in scale.windows
            for system in systems
        ]
        samples = in_turn(each, runs)
    ratios = [
        Ratio(f"{name}_w{RATIOS_AT}/{short}", _at(OURS, metric), _at(theirs, metric))
        for short, theirs in (
            ("raw", RAW),
            ("raw_asyncio", RAW_ASYNCIO),
            ("grpc", GRPC),
            ("rpyc", RPYC),
        )
        for name, metric in (("calls", CALLS), ("client_cpu", CPU))
    ]
    return summarize(NAME, samples, ratios, missing)


def measure(system: System, scale: Scale, window: int, two: Pair) -> Mapping[Figure, float]:
    """One run of one system."""
    asking = {"calls": scale.calls, "warm_up": scale.warm_up, "window": window}
    found = one_round(system, "pipelined", two, asking)
    return {
        Figure(system.name, case_of(window), *CALLS): found["calls_per_s"],
        Figure(system.name, case_of(window), *CPU): found["cpu_us"],
    }


def case_of(window: int) -> str:
    """The name of the case of so many calls in flight."""
    return f"{window} calls in flight"


def _at(system: System, metric: tuple[str, str]) -> Figure:
    return Figure(system.name, case_of(RATIOS_AT), *metric)
