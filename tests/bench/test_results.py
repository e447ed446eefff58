from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as command
from bench import plots, results
from bench.environment import facts, in_a_line
from bench.report import BenchError, Figure, Ratio, Report, number_of, summarize
from bench.results import BEGIN, END, Result

OURS, THEIRS = (
    Figure("amzmq", "10 followers", "p50", "us"),
    Figure("raw", "10 followers", "p50", "us"),
)
FACTS = {"CPython": "3.11", "cores": "2"}


def report(name: str = "rtt") -> Report:
    other = Figure("amzmq", "100 followers", "p50", "us")
    samples = {OURS: [1.0, 2.0, 4.0], THEIRS: [1.0, 1.0, 1.0], other: [3.0, 3.0, 3.0]}
    missing = {"Redis": "the program redis-server is not installed"}
    return summarize(name, samples, [Ratio("rtt_p50/raw", OURS, THEIRS)], missing)


def page_in(folder: Path) -> Path:
    page = folder / "benchmarks.md"
    page.write_text(f"# Benchmarks\n\n{BEGIN}\nold figures\n{END}\n\nThe end.\n", encoding="utf-8")
    return page


def test_stored_results_come_back(tmp_path: Path) -> None:
    results.store(Result(report(), FACTS), tmp_path / "results")
    (found,) = results.load(["engine", "rtt"], tmp_path / "results")
    assert found == Result(report(), FACTS)


def test_page_keeps_what_is_around_the_markers(tmp_path: Path) -> None:
    page = page_in(tmp_path)
    results.write_page([Result(report(), FACTS)], page, tmp_path / "plots")
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Benchmarks\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nThe end.\n")
    assert "old figures" not in text


def test_page_written_twice_is_the_same(tmp_path: Path) -> None:
    page = page_in(tmp_path)
    results.write_page([Result(report(), FACTS)], page, tmp_path / "plots")
    once = page.read_text(encoding="utf-8")
    results.write_page([Result(report(), FACTS)], page, tmp_path / "plots")
    assert page.read_text(encoding="utf-8") == once


def test_page_without_markers_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n", encoding="utf-8")
    with pytest.raises(BenchError, match=r"benchmarks\.md"):
        results.write_page([], page, tmp_path)
    assert page.read_text(encoding="utf-8") == "# Benchmarks\n"


def test_tables_have_a_line_a_case_and_a_column_a_system(tmp_path: Path) -> None:
    text = results.as_markdown([Result(report(), FACTS)], tmp_path, tmp_path / "plots")
    assert "| p50, us | amzmq | raw |" in text
    assert "| 10 followers | 2.00 (1.00 to 4.00) | 1.00 (1.00 to 1.00) |" in text
    assert "| 100 followers | 3.00 (3.00 to 3.00) |  |" in text
    assert "| rtt_p50/raw | 2.00 |" in text
    assert "- Missing: Redis: the program redis-server is not installed." in text
    assert "Measured with CPython 3.11, cores 2." in text
    assert "![" not in text


def test_results_of_different_machines_say_so_each(tmp_path: Path) -> None:
    both = [Result(report("rtt"), FACTS), Result(report("fanout"), {**FACTS, "cores": "64"})]
    text = results.as_markdown(both, tmp_path, tmp_path / "plots")
    assert text.count("Measured with ") == 2
    assert text.index("cores 2") < text.index("### fanout") < text.index("cores 64")


@pytest.mark.usefixtures("_fonts")
@pytest.mark.parametrize("name", [*plots.PANELS])
def test_pictures_are_drawn_and_shown(name: str, tmp_path: Path) -> None:
    path = plots.draw(report(name), tmp_path / "plots")
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")
    text = results.as_markdown([Result(report(name), FACTS)], tmp_path, tmp_path / "plots")
    assert f"![{name}](plots/{name}.png)" in text


@pytest.mark.usefixtures("_fonts")
def test_kept_reports_gather_on_the_page(tmp_path: Path) -> None:
    page = page_in(tmp_path)
    for name in ("burst", "rtt"):
        command.keep(report(name), tmp_path / "results", page, tmp_path / "plots")
    text = page.read_text(encoding="utf-8")
    assert text.index("### rtt") < text.index("### burst")
    assert "![burst](plots/burst.png)" in text
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "burst.json",
        "rtt.json",
    ]


def test_a_report_without_a_picture_has_none(tmp_path: Path) -> None:
    assert plots.draw(report("idle"), tmp_path / "plots") is None
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("case", "number"),
    [("1,000 followers", 1000), ("128 calls in flight", 128), ("all states", None)],
)
def test_cases_have_a_place_on_the_line(case: str, number: float | None) -> None:
    assert number_of(case) == number


def test_facts_name_versions_and_cores() -> None:
    found = facts()
    assert found["libzmq"].count(".") == 2
    assert int(found["cores"]) >= 1
    assert "pyzmq" in in_a_line(found)


def test_the_page_of_the_project_can_be_written(tmp_path: Path) -> None:
    text = results.PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)
