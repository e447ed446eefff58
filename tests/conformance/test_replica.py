"""Every recorded case through a replica, and the replay through replicas against wrong ones."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from amzmq import Machine, NetworkMachine, Result
from tests.conformance.replay import SUBSCRIBE, Case, CaseError
from tests.conformance.replica import WaitsOfReplica, replay_all
from tests.conformance.run import load, main

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FILES = {path.stem: load(path) for path in sorted(HERE.glob("*.jsonl"))}
CASES: dict[str, Case] = {case["id"]: case for cases in FILES.values() for case in cases}
# A part is one event loop's; small enough that a failure names few, large enough to be quick.
PART = 120
PARTS = [
    pytest.param(cases[at : at + PART], id=f"{name}-{at}")
    for name, cases in FILES.items()
    for at in range(0, len(cases), PART)
]


def test_the_parts_hold_every_case() -> None:
    parts: list[list[Case]] = [part.values[0] for part in PARTS]  # type: ignore[misc]
    assert [case["id"] for part in parts for case in part] == list(CASES)
    assert len(CASES) > 2000


@pytest.mark.parametrize("cases", PARTS)
async def test_cases_through_a_replica(cases: list[Case]) -> None:
    differing = await replay_all(cases)
    assert [f"{case['id']}: {difference}" for case, difference in differing] == []


async def test_told_of_each_mutation_a_replica_waits_like_its_source() -> None:
    cases = [*FILES["set0"], *FILES["set3"][::4]]
    differing = await replay_all(cases, sync_mutations=True)
    assert [f"{case['id']}: {difference}" for case, difference in differing] == []


# In each of these steps, states become active.
@pytest.mark.parametrize(
    ("attribute", "wrong", "path"),
    [
        ("time", lambda net: Machine.time(net)[:-1], "replica.steps[0].time[2]"),
        ("active_states", lambda net: [], "replica.steps[0].active[0]"),
        ("string_all", lambda net: "()", "replica.steps[0].str"),
        ("queue_tick", property(lambda net: 1), "replica.steps[0].qtick"),
        ("machine_tick", property(lambda net: 9), "replica.steps[0].mtick"),
    ],
)
async def test_a_replica_that_differs_is_found(
    monkeypatch: pytest.MonkeyPatch, attribute: str, wrong: object, path: str
) -> None:
    case = CASES["s0-remove-mutual"]
    assert await replay_all([case]) == []
    monkeypatch.setattr(NetworkMachine, attribute, wrong)
    [(_, difference)] = await replay_all([case])
    assert difference.path == path


async def test_a_result_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def add(net: NetworkMachine, *states: str) -> Result:
        return Result.CANCELED

    monkeypatch.setattr(NetworkMachine, "add", add)
    case = copy.deepcopy(CASES["s1-0"])
    case["steps"][:] = [step for step in case["steps"] if step["op"] == "add"][:1]
    [(_, difference)] = await replay_all([case])
    assert difference.path == "steps[0].result"
    assert (difference.expected, difference.got) == ("executed", "canceled")


async def test_a_wait_that_fires_at_another_step_is_found() -> None:
    case = next(case for case in FILES["set3"] if case["subs"][0]["kind"] == "when_time")
    waits = WaitsOfReplica(case, sees_all=False)
    for expected in waits.expected:
        waits.has_fired.append(lambda: True)
        waits.fired.append(expected)
    assert waits.compare() is None
    waits.fired[0] = 99
    difference = waits.compare()
    assert difference is not None
    assert difference.path == "replica.subs[0] when_time fired"


def test_waits_of_a_replica_are_expected_to_do_what_is_recorded_but_for_a_few() -> None:
    equal, differing = Counter[str](), Counter[str]()
    for case in CASES.values():
        waits = WaitsOfReplica(case, sees_all=False)
        for (_, sub), expected in zip(waits.subs, waits.expected, strict=True):
            (equal if expected == sub["fired"] else differing)[sub["kind"]] += 1
    assert set(equal) == set(SUBSCRIBE)
    # What holds only between two transitions of a step, or is looked at after accepted ones only.
    assert set(differing) <= {"when", "when_not", "when_queue", "when_query_min_tick", "when_args"}
    assert differing.total() < 0.02 * equal.total()


async def test_what_is_no_case_is_refused_before_anything_is_replayed() -> None:
    with pytest.raises(CaseError):
        await replay_all([CASES["s1-0"], {"id": "x"}])


def test_command_replays_through_replicas() -> None:
    command = [sys.executable, "-m", "tests.conformance.run", "--replica", str(HERE / "set0.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.stdout == f"passed={len(FILES['set0'])} failed=0\n", done.stderr
    assert done.returncode == 0


def test_command_names_a_case_that_fails_at_a_replica(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NetworkMachine, "string_all", lambda net: "()")
    line = (HERE / "set1.jsonl").read_text(encoding="utf-8").split("\n")[0]
    path = tmp_path / "one.jsonl"
    path.write_text(line, encoding="utf-8")
    assert main(["--replica", str(path)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("s1-0: replica.steps[0].str: expected")
    assert out[1:] == ["passed=0 failed=1"]
