from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol, TypeVar

import pytest

from bench import __main__ as command
from bench import (
    burst,
    burst_amzmq,
    engine,
    fanout,
    idle,
    peers,
    rtt,
    rtt_pipelined,
    sizes,
    states,
    views,
    workers,
)
from bench import bytes as bench_bytes
from bench.fanout_amzmq import view
from bench.fanout_roles import Plan
from bench.needs import Needs
from bench.report import BenchError, Figure, Ratio, Report, summarize
from bench.scenario import SCHEMA, large_machine, small_machine
from tests.bench.nursery import Nursery

STUBS = "tests.bench.stubs:source", "tests.bench.stubs:followers"
PLAN = fanout.SMALL.as_params()

pytestmark = pytest.mark.usefixtures("forked")


class HasNeeds(Protocol):
    @property
    def needs(self) -> Needs: ...


T = TypeVar("T", bound=HasNeeds)


def possible(systems: Iterable[T]) -> list[T]:
    """Those that can run here: servers of peers need not be installed."""
    return [system for system in systems if not system.needs.lacking()]


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


@pytest.fixture
def _quick_collections() -> Iterator[None]:
    """The engine's benchmark collects garbage before each case: not that of all the tests."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_quick_collections")
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


def without_measuring(runs: int, quick: bool) -> Report:
    ours, theirs = (Figure(system, "a case", "rate", "1/s") for system in ("amzmq", "a peer"))
    samples = {ours: [3.0], theirs: [2.0]}
    return summarize("engine", samples, [Ratio("engine/a peer", ours, theirs)])


def test_all_is_a_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "NAMES", ("engine",))
    monkeypatch.setattr(engine, "run", without_measuring)
    assert command.main(["all", "--quick", "--runs", "1", "--json"]) == 0
    assert [report["name"] for report in json.loads(capsys.readouterr().out)] == ["engine"]


def test_all_goes_on_behind_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(runs: int, quick: bool) -> None:
        raise BenchError("nobody answered")

    monkeypatch.setattr(rtt, "run", fail)
    monkeypatch.setattr(engine, "run", without_measuring)
    monkeypatch.setattr(command, "NAMES", ("rtt", "engine"))
    assert command.main(["all", "--quick", "--runs", "1", "--json"]) == 1
    captured = capsys.readouterr()
    assert [report["name"] for report in json.loads(captured.out)] == ["engine"]
    assert captured.err == "bench rtt: nobody answered\n"


def test_quick_figures_are_not_saved(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["engine", "--quick", "--save"]) == 2
    assert "--save" in capsys.readouterr().err


def test_table_names_the_versions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "run", without_measuring)
    assert command.main(["engine", "--quick", "--runs", "1"]) == 0
    out = capsys.readouterr().out
    assert "engine/a peer" in out
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


@pytest.mark.parametrize("system", possible(rtt.SYSTEMS), ids=lambda system: system.name)
def test_call_is_measured(system: rtt.System) -> None:
    with rtt.pair() as two:
        figures = rtt.measure(system, rtt.QUICK, two)
    assert {figure.metric for figure in figures} == {"p50", "p99", "calls"}
    assert all(value > 0 for value in figures.values())


@pytest.mark.parametrize("system", possible(rtt_pipelined.SYSTEMS), ids=lambda system: system.name)
def test_calls_in_flight_are_measured(system: rtt.System) -> None:
    scale = rtt_pipelined.Scale(calls=32, warm_up=8, windows=(8,))
    with rtt.pair() as two:
        figures = rtt_pipelined.measure(system, scale, 8, two)
    assert {figure.case for figure in figures} == {"8 calls in flight"}
    assert all(value > 0 for value in figures.values())


@pytest.mark.parametrize("system", possible(fanout.SYSTEMS), ids=lambda system: system.name)
def test_fanout_is_measured(system: fanout.System) -> None:
    figures = fanout.measure(system, 3, fanout.SMALL)
    assert {figure.case for figure in figures} == {"3 followers"}
    assert all(value > 0 for value in figures.values())
    metrics = {figure.metric for figure in figures}
    assert ("broker CPU an update" in metrics) == (system.broker is not None)


def test_fanout_with_a_missing_peer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Needs(programs=("no-such-server",))
    peer = replace(fanout.RAW, name="a peer", needs=absent)
    monkeypatch.setattr(fanout, "SYSTEMS", (fanout.OURS, peer))
    monkeypatch.setattr(fanout, "QUICK", fanout.Scale({1: fanout.SMALL}))
    monkeypatch.setattr(fanout, "ratios", list)
    report = fanout.run(1, quick=True)
    assert {row.system for row in report.rows} == {"amzmq"}
    assert list(report.missing) == ["a peer"]
    assert "no-such-server" in report.missing["a peer"]


def test_followers_are_spread_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "EACH", 2)
    found = fanout.one_round(STUBS, 5, {"plan": PLAN}, {"plan": PLAN})
    assert sorted(len(group["states"]) for group in found.followers) == [2, 3]


def test_limits_carry_as_many_bytes_as_we_do() -> None:
    """The shape of our frames; a change here is one of the wire."""
    assert sizes.update_bytes() > 8
    assert sizes.reply_bytes() > sizes.request_bytes() > 4


def test_fanout_counts_deliveries_and_delays() -> None:
    plan = Plan(20, burst=20, singles=2, chunk=10)
    source = {
        "wall_s": 2.0,
        "thread_us": 3.0,
        "process_us": 4.0,
        "single_thread_us": 5.0,
        "single_process_us": 6.0,
        "burst_began": 1_000_000,
        "sent": [10_000, 20_000],
    }
    groups = [
        {"burst_ended": 3_000_000, "seen": [[11_000, 22_000]]},
        {"burst_ended": 5_000_000, "seen": [[13_000, 24_000]]},
    ]
    values = fanout.figures_of(fanout.Found(source, groups), 2, plan)
    assert values[fanout.DELIVERIES] == 20.0
    assert values[fanout.PUBLISHER] == 3.0
    assert values[fanout.PROCESS] == 4.0
    assert values[fanout.SINGLE] == 5.0
    assert values[fanout.SINGLE_PROCESS] == 6.0
    assert values[fanout.CONVERGED] == 4.0
    assert values[fanout.DELAY_50] == 2.0
    assert values[fanout.DELAY_99] == 4.0


@pytest.mark.parametrize("params", [{"differ": 1}, {"missing": 1}])
def test_fanout_with_different_replicas_is_an_error(params: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="replicas differ"):
        fanout.one_round(STUBS, 4, {"plan": PLAN}, {"plan": PLAN, **params})


@pytest.mark.parametrize("system", burst.SYSTEMS, ids=lambda system: system.name)
def test_burst_is_measured(system: burst.System) -> None:
    figures = burst.in_one_process(system, 3, 10)
    assert len(figures) == 4
    assert all(value > 0 for value in figures.values())


def test_burst_is_measured_with_followers_in_other_processes() -> None:
    """How the source mutates, and whether replicas share, does not depend on where they are."""
    figures = burst.in_others(burst.SYSTEMS[0], 3, 10)
    assert {figure.case for figure in figures} == {"3 followers in other processes"}
    assert all(value > 0 for value in figures.values())


async def test_burst_in_no_known_way_is_an_error() -> None:
    with pytest.raises(BenchError, match="sideways"):
        await burst_amzmq.mutate(small_machine(), "sideways", 1)


def test_views_are_all_different() -> None:
    views = [frozenset(view(number)) for number in range(100)]
    assert len(set(views)) == 100
    assert all("C" in states for states in views)
    assert all(states <= set(SCHEMA) for states in views)


@pytest.mark.parametrize("name", ["views", "states"])
def test_cost_by_size_is_measured(name: str) -> None:
    report = command.run(name, 1, quick=True)
    assert all(row.median > 0 for row in report.rows)
    cases = {"views": views.QUICK.views, "states": states.QUICK.states}[name]
    assert len({row.case for row in report.rows}) == len(cases)
    assert report.ratios


@pytest.mark.parametrize("system", idle.SYSTEMS)
def test_rest_is_measured(system: str) -> None:
    figures = idle.measure(system, 3, window_s=0.1)
    assert {figure.metric for figure in figures} == {
        "CPU of the followers",
        "CPU of the source",
        "memory a client at its own end",
        "memory a client at the source",
    }


@pytest.fixture(scope="module")
def counted(nursery: Nursery) -> dict[str, dict[tuple[str, str], float]]:
    """What each operation puts on the wire, of each system."""
    scale = bench_bytes.Scale(times=3, beats_s=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "spawn", nursery.child)
        return _counted(scale)


def _counted(scale: bench_bytes.Scale) -> dict[str, dict[tuple[str, str], float]]:
    return {
        system: {
            (figure.case, figure.metric): value
            for figure, value in bench_bytes.measure(system, scale).items()
        }
        for system in (bench_bytes.OURS, bench_bytes.GRPC)
    }


@pytest.mark.parametrize("system", [bench_bytes.OURS, bench_bytes.GRPC])
def test_bytes_are_counted(system: str, counted: dict[str, dict[tuple[str, str], float]]) -> None:
    found = counted[system]
    for case in ("connect", "add", "subscribe, get, process"):
        assert found[case, "both ways"] == found[case, "sent"] + found[case, "received"] > 0
    calls = {bench_bytes.OURS: 1.0, bench_bytes.GRPC: 3.0}
    assert found["subscribe, get, process", "calls"] == calls[system]


def test_an_update_travels_one_way(counted: dict[str, dict[tuple[str, str], float]]) -> None:
    found = counted[bench_bytes.OURS]
    # ZeroMQ puts two bytes before a short frame.
    assert found["update", "received"] >= sizes.update_bytes()
    assert found["update", "sent"] == 0
