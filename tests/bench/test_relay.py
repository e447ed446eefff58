"""The benchmark of relays: chains of every kind, and what the figures are made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import relay
from bench.fanout import DELAY_50, DELAY_99
from bench.report import BenchError, Figure

FRAMES = {"end": "frames"}

pytestmark = pytest.mark.usefixtures("forked")


@pytest.mark.parametrize(
    "system", [relay.OURS, relay.RAW, relay.RAW_BOTH_WAYS, relay.RAW_ASYNCIO, relay.VIEW],
    ids=lambda system: system.name,
)  # fmt: skip
def test_a_hop_is_measured(system: relay.System) -> None:
    figures = relay.measure(system, 1, relay.QUICK)
    assert {(figure.system, figure.case) for figure in figures} == {(system.name, "1 hop")}
    assert {figure.metric for figure in figures} == {
        "updates forwarded",
        "hop CPU an update",
        "hop CPU a single update",
        "delay p50",
        "delay p99",
    }
    assert all(value > 0 for value in figures.values())


@pytest.mark.parametrize("system", [relay.OURS, relay.VIEW], ids=lambda system: system.name)
def test_without_a_hop_there_is_nothing_to_say_of_it(system: relay.System) -> None:
    figures = relay.measure(system, 0, relay.QUICK)
    assert {figure.metric for figure in figures} == {"updates forwarded", "delay p50", "delay p99"}


def test_two_hops_are_one_behind_the_other() -> None:
    found = relay.one_chain(relay.OURS, 2, relay.QUICK)
    assert found.followers[0]["states"] == [found.source["state"]]
    assert found.source["state"][0] == relay.QUICK.total


def test_an_end_that_differs_is_an_error() -> None:
    """The source counts frames, and the replica at the end changes of a state."""
    mixed = replace(relay.REPLICA, source_params=FRAMES)
    with pytest.raises(BenchError, match="1 of 1 replicas differ"):
        relay.one_chain(mixed, 0, relay.QUICK)


def test_added_delays_are_those_over_no_hop() -> None:
    figures = {
        Figure("a", relay.case_of(hops), *metric): value
        for hops, metric, value in (
            (0, DELAY_50, 100.0),
            (0, DELAY_99, 300.0),
            (1, DELAY_50, 150.0),
            (1, DELAY_99, 420.0),
            (1, relay.FORWARDED, 7.0),
        )
    }
    assert relay.added(figures) == {
        Figure("a", "1 hop", *relay.ADDED_50): 50.0,
        Figure("a", "1 hop", *relay.ADDED_99): 120.0,
    }


def test_ratios_are_of_one_hop_beside_each_limit() -> None:
    names = {ratio.name for ratio in relay.ratios()}
    assert {"forwarded/raw", "forwarded/raw_asyncio", "added_p50/raw"} <= names
    assert "view_forwarded/verbatim" in names
    assert all(ratio.ours.case == ratio.theirs.case == "1 hop" for ratio in relay.ratios())


def test_a_turn_has_what_every_ratio_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(system: relay.System, hops: int, plan: object) -> dict[Figure, float]:
        metrics = [relay.FORWARDED, DELAY_50, DELAY_99]
        metrics += [relay.HOP_CPU, relay.HOP_SINGLE] if hops else []
        return {Figure(system.name, relay.case_of(hops), *at): 1.0 + hops for at in metrics}

    monkeypatch.setattr(relay, "measure", measured)
    report = relay.run(2, quick=True)
    assert set(report.ratios) == {ratio.name for ratio in relay.ratios()}
    assert set(report.ratios.values()) == {1.0}
    assert report.runs == "2"
