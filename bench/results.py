"""Results that are kept: JSON files, and the tables made of them in docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.environment import in_a_line
from bench.report import BenchError, Report, Row, short
from bench.workers import ROOT

FOLDER = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = ROOT / "docs" / "plots"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True)
class Result:
    """One benchmark's outcome, and what it was measured on."""

    report: Report
    facts: Mapping[str, str]


def store(result: Result, folder: Path = FOLDER) -> Path:
    """Write one result; an older one of the same name is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.report.name}.json"
    values = {"environment": dict(result.facts), **result.report.as_json()}
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return path


def load(names: Iterable[str], folder: Path = FOLDER) -> list[Result]:
    """Read the results of these names, as far as there are any."""
    found = []
    for path in (folder / f"{name}.json" for name in names):
        if path.exists():
            values = json.loads(path.read_text(encoding="utf-8"))
            found.append(Result(Report.from_json(values), values["environment"]))
    return found


def write_page(results: Sequence[Result], page: Path = PAGE, plots: Path = PLOTS) -> None:
    """Replace what is between the markers of the page.

    Raises:
        BenchError: The page has no such markers.
    """
    write_between(page, BEGIN, END, as_markdown(results, page.parent, plots))


def write_between(page: Path, begin: str, end: str, body: str) -> None:
    """Replace what is between two lines of a page.

    Raises:
        BenchError: The page has no such lines.
    """
    head, found_begin, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found_begin and found_end):
        raise BenchError(f"{page.name} has no lines {begin} and {end} to write between")
    page.write_text(f"{head}{begin}\n\n{body}\n\n{end}{tail}", encoding="utf-8")


def as_markdown(results: Sequence[Result], base: Path, plots: Path) -> str:
    """All results, each with its table, its ratios and its picture."""
    environments = {in_a_line(dict(result.facts)) for result in results}
    common = environments.pop() if len(environments) == 1 else ""
    parts = [f"Measured with {common}. Medians, and in brackets the least and the most."]
    if not common:
        parts = ["Medians, and in brackets the least and the most."]
    for result in results:
        report = result.report
        parts.append(f"### {report.name}: figures")
        if not common:
            parts.append(f"Measured with {in_a_line(dict(result.facts))}.")
        parts.append(f"{report.runs} runs.")
        parts += [_table(report, metric) for metric in _metrics(report)]
        if report.ratios:
            ratios = [(name, f"{value:.2f}") for name, value in report.ratios.items()]
            parts.append(as_rows([("ours divided by theirs", "ratio"), *ratios]))
        if report.missing:
            lacking = (f"- Missing: {system}: {why}." for system, why in report.missing.items())
            parts.append("\n".join(lacking))
        picture = plots / f"{report.name}.png"
        if picture.exists():
            parts.append(f"![{report.name}]({picture.relative_to(base).as_posix()})")
    return "\n\n".join(parts)


def _metrics(report: Report) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row.metric, row.unit) for row in report.rows))


def _table(report: Report, metric: tuple[str, str]) -> str:
    """One metric: a line a case, a column a system."""
    rows = {(row.case, row.system): row for row in report.rows if (row.metric, row.unit) == metric}
    cases = list(dict.fromkeys(case for case, _ in rows))
    systems = list(dict.fromkeys(system for _, system in rows))
    title = metric[0] + (f", {metric[1]}" if metric[1] else "")
    lines = [(case, *(_cell(rows.get((case, system))) for system in systems)) for case in cases]
    return as_rows([(title, *systems), *lines])


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{short(row.median)} ({short(row.min)} to {short(row.max)})"


def as_rows(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first line is its head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))
