"""What different views of one machine cost, by how many of them there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.fanout import DELIVERIES, PROCESS, PUBLISHER, figures_of, one_round
from bench.fanout_roles import Plan
from bench.report import Figure, Ratio, Report, in_turn, summarize

NAME = "views"
RUNS = 5
SYSTEM = "amzmq"
ROLES = "bench.fanout_amzmq:source", "bench.fanout_amzmq:followers"
METRICS = {"publisher_cpu": PUBLISHER, "process_cpu": PROCESS, "deliveries": DELIVERIES}


@dataclass(frozen=True)
class Scale:
    """How much one run does.

    Attributes:
        followers: How many there always are.
        views: How many different views they have, case by case; 0 is all states, no view.
        plan: How many updates.
    """

    followers: int
    views: tuple[int, ...]
    plan: Plan


FULL = Scale(100, (0, 1, 10, 100), Plan(2_000, interval_s=0.01))
QUICK = Scale(2, (0, 2), Plan(20, burst=20, singles=5, chunk=10))


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure all numbers of views in turn."""
    scale = QUICK if quick else FULL
    samples = in_turn([partial(measure, views, scale) for views in scale.views], runs)
    ratios = [
        Ratio(f"{name}_v{views}/all_states", _figure(views, metric), _figure(0, metric))
        for name, metric in METRICS.items()
        for views in scale.views
        if views
    ]
    return summarize(NAME, samples, ratios)


def measure(views: int, scale: Scale) -> Mapping[Figure, float]:
    """One run with so many views."""
    params: dict[str, Any] = {"plan": scale.plan.as_params(), "views": views}
    found = one_round(ROLES, scale.followers, params, params)
    values = figures_of(found, scale.followers, scale.plan)
    return {_figure(views, metric): values[metric] for metric in METRICS.values()}


def _case(views: int) -> str:
    if not views:
        return "all states"
    return f"{views} view" + ("s" if views > 1 else "")


def _figure(views: int, metric: tuple[str, str]) -> Figure:
    return Figure(SYSTEM, _case(views), *metric)
