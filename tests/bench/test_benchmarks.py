from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest

from bench import __main__ as command
from bench import engine, fanout, peers, rtt, sizes
from bench.pace import CHUNK
from bench.report import BenchError, Figure
from bench.scenario import SCHEMA, large_machine, small_machine

STUBS = "tests.bench.stubs:source", "tests.bench.stubs:followers"


def test_small_machine_is_the_scenario() -> None:
    machine = small_machine()
    assert len(machine.state_names) == len(SCHEMA) == 11
    assert set(machine.active_states()) == {"A", "B", "G"}


def test_large_machine_has_half_of_its_states_active() -> None:
    machine = large_machine(1000)
    assert len(machine.state_names) == 1000
    assert 490 <= len(machine.active_states()) <= 510


@pytest.mark.parametrize("peer", [peers.transitions, peers.python_statemachine])
def test_peers_run_their_callbacks(peer: object) -> None:
    assert callable(peer)
    pairs, model = peer(True)
    before = model.calls
    pairs(3)
    assert model.calls == before + 6


def test_engine_reports_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["engine", "--quick", "--runs", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["name"] == "engine"
    assert {"engine/transitions", "engine_handlers/transitions"} <= set(report["ratios"])
    assert {row["system"] for row in report["rows"]} == {
        "amzmq",
        "transitions",
        "python-statemachine",
    }
    for row in report["rows"]:
        assert list(row) == ["system", "case", "metric", "unit", "median", "min", "max", "runs"]
        assert row["runs"] == 2
        assert 0 < row["min"] <= row["median"] <= row["max"]
    rows = {(row["system"], row["case"]): row for row in report["rows"]}
    ours, theirs = rows["amzmq", "no handlers"], rows["transitions", "no handlers"]
    ratio = report["ratios"]["engine/transitions"]
    assert ours["min"] / theirs["max"] <= ratio <= ours["max"] / theirs["min"]


def test_all_is_a_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "NAMES", ("engine",))
    assert command.main(["all", "--quick", "--runs", "1", "--json"]) == 0
    assert [report["name"] for report in json.loads(capsys.readouterr().out)] == ["engine"]


def test_table_names_the_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["engine", "--quick", "--runs", "1"]) == 0
    out = capsys.readouterr().out
    assert "engine/transitions" in out
    assert "pyzmq" in out.splitlines()[-1]


def test_failed_run_is_no_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(runs: int, quick: bool) -> None:
        raise BenchError("replicas differ")

    monkeypatch.setattr(engine, "run", fail)
    assert command.main(["engine", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "replicas differ" in captured.err


@pytest.mark.parametrize("system", [rtt.ours, rtt.raw, rtt.raw_asyncio])
def test_call_is_measured(system: Callable[[rtt.Scale, rtt.Pair], Mapping[Figure, float]]) -> None:
    with rtt.pair() as two:
        figures = system(rtt.QUICK, two)
    assert {figure.metric for figure in figures} == {"p50", "p99", "calls"}
    assert all(value > 0 for value in figures.values())


@pytest.mark.parametrize("system", [fanout.ours, fanout.raw, fanout.raw_asyncio])
def test_fanout_is_measured(system: Callable[[int, int], Mapping[Figure, float]]) -> None:
    figures = system(3, CHUNK)
    assert {figure.case for figure in figures} == {"3 followers"}
    assert all(value > 0 for value in figures.values())


def test_limits_carry_as_many_bytes_as_we_do() -> None:
    """The shape of our frames; a change here is one of the wire."""
    assert sizes.update_bytes() > 8
    assert sizes.reply_bytes() > sizes.request_bytes() > 4


def test_fanout_counts_the_deliveries() -> None:
    figures = fanout.one_round("stub", STUBS, 4, CHUNK)
    assert list(figures.values()) == [4.0 * CHUNK, 2.0, 3.0]


@pytest.mark.parametrize("params", [{"differ": 1}, {"missing": 1}])
def test_fanout_with_different_replicas_is_an_error(params: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="replicas differ"):
        fanout.one_round("stub", STUBS, 4, CHUNK, follower_params=params)


def test_fanout_wants_whole_chunks() -> None:
    with pytest.raises(BenchError, match="multiple"):
        fanout.raw(1, CHUNK + 1)
