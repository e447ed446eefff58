"""The machine against every recorded case, and the runner against wrong recordings."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.replay import CaseError, Difference, compare, replay
from tests.conformance.run import load, main

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# Counted here, so that a case which gets lost is missed.
COUNTS = {"set0": 96, "set1": 859, "set2": 595, "set3": 515}
FILES = {name: load(HERE / f"{name}.jsonl") for name in COUNTS}
CASES = {case["id"]: case for cases in FILES.values() for case in cases}


@pytest.mark.parametrize("case_id", CASES)
def test_case(case_id: str) -> None:
    difference = replay(CASES[case_id])
    assert difference is None, str(difference)


def test_no_case_is_lost() -> None:
    assert {name: len(cases) for name, cases in FILES.items()} == COUNTS
    assert len(CASES) == sum(COUNTS.values())
    assert {path.stem for path in HERE.glob("*.jsonl")} == set(COUNTS)


# Between them: relations, auto, handlers, vetoes, nested mutations, panics, dry runs, errors, an
# import, every kind of subscription.
MUTATED = [
    "s0-import",
    "s0-n-can",
    "s0-n-duplicate-order",
    "s0-n-err",
    "s0-p-enter",
    "s0-w-ctx",
    "s1-0",
    "s2-0",
    "s2p-19",
    "s3-2",
]
# What a case gives to the machine; the rest is what it expects back.
INPUTS = {"op", "states", "args", "before", "kind", "times", "ticks", "tick"}


def expectations(value: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path, the container and the key of each expected value inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(value, dict) and key in INPUTS:
            continue
        inner_path = f"{path}.{key}" if isinstance(value, dict) else f"{path}[{key}]"
        if isinstance(inner, dict | list):
            yield from expectations(inner, inner_path)
        else:
            yield inner_path, value, key


def changed(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return f"{value}?"


def all_expectations(case: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for field in ("initial", "steps", "subs"):
        if field in case:
            yield from expectations(case[field], field)


@pytest.mark.parametrize("case_id", MUTATED)
def test_each_wrong_expectation_is_found_where_it_is(case_id: str) -> None:
    case = copy.deepcopy(CASES[case_id])
    places = list(all_expectations(case))
    assert len(places) > 10
    for path, container, key in places:
        right = container[key]
        container[key] = changed(right)
        difference = replay(case)
        container[key] = right
        assert difference is not None, path
        assert difference.path == path


@pytest.mark.parametrize("field", ["time", "active", "txs"])
def test_missing_expectation_is_found(field: str) -> None:
    case = copy.deepcopy(CASES["s0-n-err"])
    case["steps"][0][field].pop()
    difference = replay(case)
    assert difference is not None
    assert difference.path.startswith(f"steps[0].{field}[")
    assert difference.expected != difference.got


def test_unordered_active_is_compared_as_a_set() -> None:
    case = copy.deepcopy(next(c for c in CASES.values() if not c["ordered"]))
    step = next(s for s in case["steps"] if len(s.get("active", [])) > 1)
    step["active"].reverse()
    assert replay(case) is None
    step["active"].pop()
    assert replay(case) is not None


def test_omitted_active_must_agree_with_the_ticks() -> None:
    case = copy.deepcopy(CASES["s3-2"])
    assert not any("active" in step for step in case["steps"])
    assert replay(case) is None
    case["steps"][0]["active"] = []
    difference = replay(case)
    assert difference is not None
    assert difference.path == "steps[0].active[0]"


def test_exception_of_the_machine_is_a_difference() -> None:
    case = copy.deepcopy(CASES["s1-0"])
    case["steps"][1]["states"] = ["NoSuchState"]
    difference = replay(case)
    assert difference is not None
    assert difference.path == "steps[1]"
    assert "NoSuchState" in str(difference)


@pytest.mark.parametrize(
    ("expected", "got", "text"),
    [
        (1, True, "x: expected 1, got true"),
        ([1, 2], [1], "x[1]: expected 2, got nothing"),
        ([1], [1, None], "x[1]: expected nothing, got null"),
        ({"a": [0]}, {"a": [1]}, "x.a[0]: expected 0, got 1"),
        ({}, {"b": "c"}, 'x.b: expected nothing, got "c"'),
        ([], {}, "x: expected [], got {}"),
    ],
)
def test_compare_names_the_first_difference(expected: object, got: object, text: str) -> None:
    assert str(compare("x", expected, got)) == text


def test_compare_of_equal_values() -> None:
    assert compare("x", {"a": [1, None, "b", True]}, {"a": [1, None, "b", True]}) is None


def write(path: Path, *cases: Any) -> str:
    path.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
    return str(path)


def test_runner_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one.jsonl", CASES["s1-0"])
    two = write(tmp_path / "two.jsonl", CASES["s2-0"], CASES["s3-2"])
    assert main([one, two]) == 0
    assert capsys.readouterr().out == "passed=3 failed=0\n"


def test_runner_names_the_failing_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = copy.deepcopy(CASES["s1-0"])
    wrong["steps"][0]["time"][2] += 2
    assert main([write(tmp_path / "wrong.jsonl", CASES["s2-0"], wrong)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "s1-0: steps[0].time[2]: expected 3, got 1",
        "passed=1 failed=1",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no cases"),
        (b"\n\n", "no cases"),
        (b'{"id": "a"', ":1: not JSON"),
        (b"[]", ":1: not a case"),
        (b'{"id": "a"}', "'states' is missing"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_runner_refuses_what_is_not_a_file_of_cases(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    assert main([str(path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_runner_refuses_a_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(HERE / "no-such-file.jsonl")]) == 2
    assert "no-such-file.jsonl: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"steps": [{"op": "explode", "result": "executed", "time": [], "qtick": 1}]},
        {"steps": [{"op": "add", "time": [], "qtick": 1}]},
        {"subs": [{"kind": "whenever", "before": 0, "fired": None}]},
        {"subs": [{"kind": "when", "states": ["A"], "before": 99, "fired": None}]},
        {"subs": [{"kind": "when", "states": ["A"], "before": 0}]},
    ],
)
def test_what_cannot_be_replayed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CaseError):
        replay({**CASES["s1-0"], **change})


@pytest.mark.parametrize(("args", "status"), [(["set0.jsonl"], 0), (["README.md"], 2), ([], 2)])
def test_command_status(args: list[str], status: int) -> None:
    command = [sys.executable, "-m", "tests.conformance.run", *(str(HERE / a) for a in args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    if status == 0:
        assert done.stdout == f"passed={COUNTS['set0']} failed=0\n"


def test_difference_prints_on_one_line() -> None:
    assert "\n" not in str(Difference("x", "a\nb", ["c\nd"]))
