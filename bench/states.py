"""What an update and a new client cost, by the size of the schema; one state changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.fanout import DELAY_50, DELIVERIES, PUBLISHER, figures_of, one_round
from bench.fanout_roles import Plan
from bench.report import Figure, Ratio, Report, in_turn, summarize

NAME = "states"
RUNS = 5
SYSTEM = "amzmq"
ROLES = "bench.fanout_amzmq:source", "bench.fanout_amzmq:followers"
CONNECT, CONNECT_BYTES = ("connect", "ms"), ("connect, bytes", "B")
METRICS = (PUBLISHER, DELIVERIES, DELAY_50)


@dataclass(frozen=True)
class Scale:
    """How much one run does, with how many states; the smallest schema has eleven."""

    states: tuple[int, ...]
    plan: Plan


FULL = Scale((11, 100, 1_000, 10_000), Plan(10_000))
QUICK = Scale((11, 100), Plan(20, burst=20, singles=5, chunk=10))


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure all sizes in turn."""
    scale = QUICK if quick else FULL
    samples = in_turn([partial(measure, states, scale.plan) for states in scale.states], runs)
    small, large = scale.states[0], scale.states[-1]
    ratios = [
        Ratio(f"{name}_{large}/{small}", _figure(large, metric), _figure(small, metric))
        for name, metric in (
            ("publisher_cpu", PUBLISHER),
            ("deliveries", DELIVERIES),
            ("connect", CONNECT),
        )
    ]
    return summarize(NAME, samples, ratios)


def measure(states: int, plan: Plan) -> Mapping[Figure, float]:
    """One run with a schema of so many states, and one follower."""
    params: dict[str, Any] = {"plan": plan.as_params()}
    found = one_round(ROLES, 1, {**params, "states": states}, params)
    values = figures_of(found, 1, plan)
    (follower,) = found.followers
    return {
        **{_figure(states, metric): values[metric] for metric in METRICS},
        _figure(states, CONNECT): follower["connect_ms"],
        _figure(states, CONNECT_BYTES): follower["connect_bytes"],
    }


def _figure(states: int, metric: tuple[str, str]) -> Figure:
    return Figure(SYSTEM, f"{states:,} states", *metric)
