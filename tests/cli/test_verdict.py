from __future__ import annotations

import json
from dataclasses import replace

import pytest

from amzmq.cli.demo.verdict import Published, Report, judge

PUBLISHED = Published(
    clock=(1, 4, 7),
    payloads=100,
    digest="d",
    files=100,
    unreadable=0,
    updates=120,
    mutations=110,
    seconds=1.5,
)
LEVEL = Report(
    name="f",
    clock=(1, 4, 7),
    payloads=100,
    digest="d",
    latency={640: 99, 700: 1},
    metrics={"updates": 118, "gaps": 1, "resyncs": 2},
)


def test_all_level() -> None:
    verdict = judge(PUBLISHED, {"f01": LEVEL, "f02": replace(LEVEL, metrics={"updates": 90})})
    assert verdict.good
    latency = verdict.figures["latency_ms"]
    assert isinstance(latency, dict)
    assert latency["p50"] == pytest.approx(2**20 / 1e6, rel=0.03)
    assert verdict.figures == {
        "subscribers": 2,
        "converged": 2,
        "files": 100,
        "payloads_published": 100,
        "payloads_received_min": 100,
        "payloads_lost": 0,
        "updates_published": 120,
        "updates_applied_min": 90,
        "gaps": 1,
        "resyncs": 2,
        "mutations": 110,
        "latency_ms": latency,
        "seconds": 1.5,
    }
    assert verdict.text().endswith("verdict: good")


@pytest.mark.parametrize(
    ("other", "lost", "said"),
    [
        (None, 100, "gave no report"),
        (replace(LEVEL, payloads=97), 3, "97 payloads of 100"),
        (replace(LEVEL, payloads=101), 0, "101 payloads of 100"),
        (replace(LEVEL, digest="e"), 0, "another order"),
        (replace(LEVEL, clock=(1, 4, 5)), 0, "has clock [1, 4, 5]"),
        (replace(LEVEL, clock=(1, 4)), 0, "has clock [1, 4]"),
    ],
)
def test_each_way_of_failing_costs_convergence(other: Report | None, lost: int, said: str) -> None:
    verdict = judge(PUBLISHED, {"f01": LEVEL, "f02": other})
    assert not verdict.good
    assert verdict.figures["converged"] == 1
    assert verdict.figures["payloads_lost"] == lost
    assert [said in problem for problem in verdict.problems] == [True]
    assert verdict.problems[0].startswith("f02 ")
    assert verdict.text().endswith("verdict: BAD")


def test_nobody_reported() -> None:
    verdict = judge(PUBLISHED, {"f01": None, "f02": None})
    assert verdict.figures["converged"] == 0
    assert verdict.figures["payloads_received_min"] == 0
    assert verdict.figures["payloads_lost"] == 200
    assert verdict.figures["latency_ms"] == {"p50": None, "p99": None}
    assert verdict.text()


def test_trouble_on_the_way_is_bad_even_if_all_are_level() -> None:
    verdict = judge(PUBLISHED, {"f01": LEVEL}, ("followers still behind",))
    assert verdict.figures["converged"] == 1
    assert not verdict.good


def test_a_file_without_its_payload_is_bad() -> None:
    verdict = judge(replace(PUBLISHED, files=101), {"f01": LEVEL})
    assert not verdict.good


def test_unreadable_files_are_told_and_not_bad() -> None:
    verdict = judge(replace(PUBLISHED, unreadable=2), {"f01": LEVEL})
    assert verdict.good
    assert "2 files or folders could not be read" in verdict.text()


def test_a_report_comes_back_from_its_line() -> None:
    line = json.dumps(
        {
            "name": "f",
            "clock": [1, 4, 7],
            "payloads": 100,
            "digest": "d",
            "latency": [[640, 99], [700, 1]],
            "metrics": {"updates": 118, "gaps": 1, "resyncs": 2},
        }
    )
    assert Report.from_json(line.encode()) == LEVEL


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"name": "f", "clock": 3}'])
def test_what_is_no_report_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Report.from_json(line)
