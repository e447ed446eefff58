from __future__ import annotations

import json

import pytest

from bench.latency import percentile
from bench.report import BenchError, Figure, Ratio, Report, in_turn, summarize

OURS = Figure("ours", "case", "rate", "1/s")
THEIRS = Figure("theirs", "case", "rate", "1/s")


def test_contestants_take_turns() -> None:
    order = []

    def contestant(figure: Figure) -> dict[Figure, float]:
        order.append(figure.system)
        return {figure: float(len(order))}

    samples = in_turn([lambda: contestant(OURS), lambda: contestant(THEIRS)], 3)
    assert order == ["ours", "theirs"] * 3
    assert samples == {OURS: [1.0, 3.0, 5.0], THEIRS: [2.0, 4.0, 6.0]}


def test_json_has_rows_and_ratios() -> None:
    samples = {OURS: [30.0, 10.0, 500.0], THEIRS: [20.0, 20.0, 20.0]}
    report = summarize("bench", samples, [Ratio("ours/theirs", OURS, THEIRS)])
    assert json.loads(json.dumps(report.as_json())) == {
        "name": "bench",
        "rows": [
            {
                "system": "ours",
                "case": "case",
                "metric": "rate",
                "unit": "1/s",
                "median": 30.0,
                "min": 10.0,
                "max": 500.0,
                "runs": 3,
            },
            {
                "system": "theirs",
                "case": "case",
                "metric": "rate",
                "unit": "1/s",
                "median": 20.0,
                "min": 20.0,
                "max": 20.0,
                "runs": 3,
            },
        ],
        # The medians divided, neither the means nor the best.
        "ratios": {"ours/theirs": 1.5},
        "missing": {},
    }


def test_a_ratio_is_the_median_of_the_ratios_of_each_turn() -> None:
    ours, theirs = Figure("ours", "c", "m", "u"), Figure("theirs", "c", "m", "u")
    # The machine was three times as slow in the second turn, for both.
    samples = {ours: [2.0, 6.0, 2.0], theirs: [1.0, 3.0, 1.0]}
    assert summarize("n", samples, [Ratio("r", ours, theirs)]).ratios["r"] == 2.0


def test_missing_systems_are_named_and_their_ratios_left_out() -> None:
    samples = {OURS: [1.0]}
    ratios = [Ratio("ours/theirs", OURS, THEIRS)]
    report = summarize("bench", samples, ratios, {"theirs": "not installed"})
    assert report.ratios == {}
    assert report.as_json()["missing"] == {"theirs": "not installed"}
    assert report.as_table().endswith("missing: theirs: not installed")


def test_ratio_to_what_nobody_measured_is_an_error() -> None:
    with pytest.raises(BenchError, match="ours/theirs: nobody measured theirs"):
        summarize("bench", {OURS: [1.0]}, [Ratio("ours/theirs", OURS, THEIRS)])


def test_json_comes_back_as_the_report() -> None:
    samples = {OURS: [1.0], THEIRS: [2.0]}
    report = summarize("bench", samples, [Ratio("r", OURS, THEIRS)], {"other": "why"})
    assert Report.from_json(json.loads(json.dumps(report.as_json()))) == report


def test_different_numbers_of_runs_are_a_range() -> None:
    report = summarize("bench", {OURS: [1.0, 2.0, 3.0], THEIRS: [1.0]})
    assert report.as_table().startswith("bench (medians of 1 to 3 runs)")


def test_ratio_to_nothing_is_an_error() -> None:
    with pytest.raises(BenchError, match="ours/theirs"):
        summarize("bench", {OURS: [1.0], THEIRS: [0.0]}, [Ratio("ours/theirs", OURS, THEIRS)])


def test_table_puts_what_is_compared_below_each_other() -> None:
    other = Figure("ours", "other case", "rate", "1/s")
    samples = {OURS: [1234.5], other: [5.0], THEIRS: [2.0]}
    lines = summarize("bench", samples, [Ratio("ours/theirs", OURS, THEIRS)]).as_table().split("\n")
    assert lines[0] == "bench (medians of 1 runs)"
    assert [line.split()[0] for line in lines[3:6]] == ["case", "case", "other"]
    assert "1,234" in lines[3]
    assert lines[-1].split() == ["ours/theirs", "617.25"]


@pytest.mark.parametrize(
    ("percent", "value"), [(50, 50), (99, 99), (100, 100), (0.1, 1)], ids=lambda v: str(v)
)
def test_percentile_is_a_value_that_was_measured(percent: float, value: int) -> None:
    assert percentile(range(1, 101), percent) == value


def test_percentile_of_one_value() -> None:
    assert percentile([7], 50) == percentile([7], 99) == 7
