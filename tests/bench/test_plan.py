"""The command that plans, the costs it computes from, and the page it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import (
    costs,
    fanout,
    grove,
    plan,
    plots,
    relay,
    results,
    scaling,
    scaling_plot,
)
from bench.report import BenchError, Figure, Report, summarize
from bench.results import Result
from bench.tree import Limits, Load, Model
from tests.bench.units import UNITS

NOWHERE = ["--results", "no-such-folder"]


def fanout_report() -> Report:
    """A node whose thread takes 10 us and 0.1 us a follower, and its I/O thread 1 and 0.2."""
    samples: dict[Figure, list[float]] = {}
    for followers in (1, 10, 100, 1_000):
        system = fanout.OURS if followers < 100 else fanout.OURS_TURNS
        thread, io = 10 + 0.1 * followers, 1 + 0.2 * followers
        for metric, value in {
            fanout.PUBLISHER: thread,
            fanout.PROCESS: thread + io,
            fanout.SINGLE: 2 * thread,
            fanout.SINGLE_PROCESS: 2 * thread + 10 * io,
            fanout.DELIVERIES: 60_000.0 * followers,
            fanout.DELAY_50: 200.0,
            fanout.DELAY_99: 500.0,
        }.items():
            samples[Figure(system.name, fanout.case_of(followers), *metric)] = [value]
    return summarize("fanout", samples)


def relay_report(added_99: float = 300.0) -> Report:
    values = {relay.HOP_CPU: 5.0, relay.HOP_SINGLE: 30.0, relay.ADDED_50: 100.0,
              relay.ADDED_99: added_99}  # fmt: skip
    return summarize(
        "relay", {Figure("amzmq", "1 hop", *metric): [v] for metric, v in values.items()}
    )


def values_of(found: Mapping[str, costs.Cost]) -> dict[str, float]:
    return {name: cost.value for name, cost in found.items()}


def test_costs_are_read_from_the_results() -> None:
    found = costs.measured([Result(fanout_report(), {}), Result(relay_report(), {})])
    assert values_of(found) == {
        "update_us": pytest.approx(10.0),
        "child_us": pytest.approx(0.1),
        "io_us": pytest.approx(1.0),
        "io_child_us": pytest.approx(0.2),
        "hop_us": 5.0,
        "single_update_us": pytest.approx(20.0),
        "single_child_us": pytest.approx(0.2),
        "single_io_us": pytest.approx(10.0),
        "single_io_child_us": pytest.approx(2.0),
        "single_hop_us": 30.0,
        "apply_rate": 60_000.0,
        "direct_p50_us": 200.0,
        "direct_p99_us": 500.0,
        "hop_p50_us": 100.0,
        "hop_p99_us": 300.0,
        "fan_out": 1_000.0,
    }
    assert found["child_us"].source == "bench/results/fanout.json"


def test_memory_is_read_from_the_results() -> None:
    samples = {
        Figure("amzmq", "1 follower", "memory of the followers' process", "KiB"): [30_000.0],
        Figure("amzmq", "200 followers", "memory a client at the source", "KiB"): [20.0],
    }
    found = costs.measured([Result(summarize("idle", samples), {})])
    assert values_of(found) == {"node_kib": 30_000.0, "client_kib": 20.0}


def test_a_rare_delay_is_never_less_than_the_usual_one() -> None:
    found = costs.measured([Result(relay_report(added_99=-40.0), {})])
    assert found["hop_p99_us"].value == found["hop_p50_us"].value == 100.0


def test_a_result_that_lacks_a_figure_says_how_to_get_it() -> None:
    with pytest.raises(BenchError, match="python -m bench relay --save"):
        costs.measured([Result(Report("relay", (), {}), {})])


def test_results_go_before_the_file(tmp_path: Path) -> None:
    results.store(Result(relay_report(), {}), tmp_path)
    found, file = costs.load(tmp_path), costs.read()
    assert found["hop_us"] == costs.Cost(5.0, "bench/results/relay.json")
    assert found["update_us"] == file["update_us"]


def test_the_file_says_where_each_cost_is_from() -> None:
    assert all(cost.value >= 0 and "python -m bench" in cost.source
               for cost in costs.read().values())  # fmt: skip
    assert set(scaling.MEANINGS) == set(costs.read()) == set(costs.NAMES)


def test_a_file_that_lacks_a_cost_is_refused(tmp_path: Path) -> None:
    values = json.loads(costs.FILE.read_text(encoding="utf-8"))
    values["lunch_us"] = values.pop("hop_us")
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(BenchError, match=r"missing \['hop_us'\], unknown \['lunch_us'\]"):
        costs.read(path)


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ({1.0: 12.0, 10.0: 30.0, 100.0: 210.0}, (10.0, 2.0)),
        ({5.0: 7.0}, (7.0, 0.0)),
        # Neither part is less than nothing.
        ({1.0: 1.0, 2.0: 3.0}, (0.0, pytest.approx(1.2, abs=0.3))),
        ({1.0: 3.0, 2.0: 1.0}, (pytest.approx(1.2, abs=0.3), 0.0)),
    ],
)
def test_a_line_has_what_is_paid_anyway_and_for_each(
    points: dict[float, float], line: tuple[float, float]
) -> None:
    assert costs.line_through(points) == pytest.approx(line)


def test_the_table_has_the_tree_the_delays_and_the_costs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert plan.main(["--subscribers", "1e6", "--updates", "100", "--bytes", "40", *NOWHERE]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1,000,000 subscribers, 100 updates a second of 40 B: 1,004 relays")
    assert "relays 2  1,001    1,000" in out
    assert "p99 " in out
    assert "python -m bench relay" in out


def test_json_has_what_the_table_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan.main(["--subscribers", "1e5", "--json", *NOWHERE]) == 0
    values = json.loads(capsys.readouterr().out)
    tree = Model(costs.together(costs.read()), Load(100_000, 100.0, 40), Limits()).plan()
    assert values["relays"] == tree.relays == sum(it["nodes"] for it in values["levels"][1:])
    assert values["p99_ms"] == tree.p99_ms
    assert set(values["costs"]) == set(costs.NAMES)
    assert "simulation" not in values


def test_options_are_limits(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--subscribers", "1000", "--fan-out", "10", "--spare", "0", "--latency", "5"]
    argv += ["--bandwidth", "100", "--per-node-cores", "1", "--utilisation", "0.5"]
    assert plan.main([*argv, "--json", *NOWHERE]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [level["nodes"] for level in values["levels"]] == [1, 10, 100]
    assert values["p50_ms"] > 15
    assert values["limits"]["cores"] == 1
    assert values["limits"]["utilisation"] == 0.5


def test_an_impossible_load_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan.main(["--updates", "1e7", *NOWHERE]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("bench.plan: impossible: 10,000,000 updates a second")
    assert captured.err.count("\n") == 1
    assert plan.main(["--updates", "1e7", "--json", *NOWHERE]) == 1
    assert json.loads(capsys.readouterr().out)["error"].startswith("impossible: ")


@pytest.mark.parametrize(
    "argv", [["--subscribers", "0"], ["--subscribers", "1.5"], ["--updates", "-1"],
             ["--updates", "nan"], ["--utilisation", "1"], ["--latency", "-1"]],
)  # fmt: skip
def test_nonsense_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        plan.main(argv)
    assert raised.value.code == 2
    assert argv[0] in capsys.readouterr().err


def test_the_plan_is_simulated_and_the_scale_named(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--subscribers", "1e4", "--simulate", "--followers", "6", *NOWHERE]
    assert plan.main(argv) == 0
    out = capsys.readouterr().out
    assert "simulated 1 : 1,667 (6 followers below" in out
    assert "every follower equals the source" in out


def test_a_simulation_that_does_not_hold_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = grove.Outcome(
        scale=grove.Scale(2, (), 2, ()), updates=1, payloads=1, dropped=0, deaths=0, gaps=0,
        snapshots=2, payloads_lost=0, different=("f1",), uncounted=(), virtual_s=1.0, wall_s=0.1,
    )  # fmt: skip
    monkeypatch.setattr(grove, "simulate", lambda scale, seed: bad)
    assert plan.main(["--subscribers", "2", "--simulate", *NOWHERE]) == 1
    assert "different: f1" in capsys.readouterr().out
    assert plan.main(["--subscribers", "2", "--simulate", "--json", *NOWHERE]) == 1
    assert json.loads(capsys.readouterr().out)["simulation"]["holds"] is False


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "scaling.md"
    text = f"# Scaling\n\n{scaling.BEGIN}\nold\n{scaling.END}\n\nThe end.\n"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.usefixtures("_fonts")
def test_the_page_is_computed_from_the_costs(page: Path, tmp_path: Path) -> None:
    results.store(Result(fanout_report(), {}), tmp_path / "results")
    scaling.write(tmp_path / "results", page, tmp_path / "plots")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Scaling\n")
    assert text.endswith("The end.\n")
    assert "old" not in text
    assert "| bench/results/fanout.json |" in text
    assert "| 1,000,000 | 3 + 1,001 |" in text
    assert "![relays and delays](plots/scaling.png)" in text
    assert (tmp_path / "plots" / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_kept_result_changes_both_pages(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "draw", lambda *_: None)
    monkeypatch.setattr(scaling_plot, "draw", lambda *_: None)
    benchmarks = tmp_path / "benchmarks.md"
    benchmarks.write_text(f"{results.BEGIN}\n{results.END}\n", encoding="utf-8")
    folder, pictures = tmp_path / "results", tmp_path / "plots"
    command.keep(fanout_report(), folder, benchmarks, pictures, page)
    assert "### fanout" in benchmarks.read_text(encoding="utf-8")
    assert "bench/results/fanout.json" in page.read_text(encoding="utf-8")


def test_a_load_that_nothing_carries_has_no_tree_on_the_page() -> None:
    assert scaling.plan(UNITS, 1_000_000, 1e6) is None
    tree = scaling.plan(UNITS, 1_000_000, 100.0)
    quick = scaling.plan(UNITS, 1_000_000, 100.0, max_delay_ms=5.0)
    assert tree is not None
    assert quick is not None
    assert tree.relays == 1_004 < quick.relays
    assert quick.p99_ms <= 5.0 < tree.p99_ms


def test_the_page_of_the_project_is_what_the_costs_say() -> None:
    text = scaling.PAGE.read_text(encoding="utf-8")
    assert text.count(scaling.BEGIN) == text.count(scaling.END) == 1
    known = costs.load()
    assert scaling.as_markdown(known, costs.together(known)) in text
