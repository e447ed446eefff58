"""Figures: collected over several runs, reduced to medians, set against each other."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple


class BenchError(Exception):
    """A run that gives no figure: it failed, hung, or its replicas differ."""


class Figure(NamedTuple):
    """What was measured: of which system, in which case, in which unit."""

    system: str
    case: str
    metric: str
    unit: str


Contestant = Callable[[], Mapping[Figure, float]]
"""Runs once and returns what it measured."""


@dataclass(frozen=True)
class Row:
    """One figure over all runs."""

    system: str
    case: str
    metric: str
    unit: str
    median: float
    min: float
    max: float
    runs: int


@dataclass(frozen=True)
class Ratio:
    """Ours divided by theirs; whether high or low is good depends on the metric."""

    name: str
    ours: Figure
    theirs: Figure


@dataclass(frozen=True)
class Report:
    """One benchmark's outcome.

    Attributes:
        name: The benchmark's.
        rows: All figures.
        ratios: Ours divided by theirs, by name.
        missing: Systems that could not take part, and why.
    """

    name: str
    rows: tuple[Row, ...]
    ratios: Mapping[str, float]
    missing: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "name": self.name,
            "rows": [asdict(row) for row in self.rows],
            "ratios": dict(self.ratios),
            "missing": dict(self.missing),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Report:
        """The report that `as_json` made these of."""
        rows = tuple(Row(**row) for row in values["rows"])
        return cls(values["name"], rows, values["ratios"], values["missing"])

    def as_table(self) -> str:
        """The report for people."""
        head = ("case", "metric", "system", "median", "min", "max", "unit")
        cells = [
            (r.case, r.metric, r.system, *map(short, (r.median, r.min, r.max)), r.unit)
            for r in sorted(self.rows, key=self._place)
        ]
        lines = [f"{self.name} (medians of {self.runs} runs)", "", *aligned([head, *cells])]
        if self.ratios:
            ratios = [(name, f"{value:.2f}") for name, value in self.ratios.items()]
            lines += ["", *aligned([("ours divided by theirs", ""), *ratios])]
        if self.missing:
            lines += ["", *(f"missing: {system}: {why}" for system, why in self.missing.items())]
        return "\n".join(lines)

    @property
    def runs(self) -> str:
        """How many runs the medians are of, as a number or a range."""
        counts = {row.runs for row in self.rows} or {0}
        few, many = min(counts), max(counts)
        return f"{few}" if few == many else f"{few} to {many}"

    def _place(self, row: Row) -> tuple[int, int]:
        """Rows to compare stand below each other, else in the order of measuring."""
        cases = [r.case for r in self.rows]
        metrics = [r.metric for r in self.rows]
        return cases.index(row.case), metrics.index(row.metric)


def in_turn(contestants: Iterable[Contestant], runs: int) -> dict[Figure, list[float]]:
    """Run the contestants in turn: A, B, A, B, and so on.

    A shared machine changes its speed from second to second. In turn, all contestants meet the
    same mixture of good and bad moments, which one after the other they would not.
    """
    contestants = tuple(contestants)
    samples: dict[Figure, list[float]] = {}
    for _ in range(runs):
        for contestant in contestants:
            for figure, value in contestant().items():
                samples.setdefault(figure, []).append(value)
    return samples


def summarize(
    name: str,
    samples: Mapping[Figure, Sequence[float]],
    ratios: Iterable[Ratio] = (),
    missing: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """Reduce samples to medians; a ratio is the median of the ratios of each turn.

    The machine's speed drifts by half within a minute, for both sides of one turn alike: a
    ratio of medians would compare a quick moment of one with a slow moment of the other.

    Args:
        name: The benchmark's.
        samples: What each run measured.
        ratios: Which figures to divide; those to a missing system are left out.
        missing: Systems that could not take part, and why.

    Raises:
        BenchError: A ratio is to nothing, or to a system that is not said to be missing.
    """
    ratios = [r for r in ratios if r.theirs.system not in missing]
    for ratio in ratios:
        for figure in (ratio.ours, ratio.theirs):
            if figure not in samples:
                raise BenchError(f"{ratio.name}: nobody measured {', '.join(figure)}")
    rows = {
        figure: Row(*figure, statistics.median(values), min(values), max(values), len(values))
        for figure, values in samples.items()
    }
    return Report(
        name,
        tuple(rows.values()),
        {r.name: _divided(r, samples[r.ours], samples[r.theirs]) for r in ratios},
        dict(missing),
    )


def _divided(ratio: Ratio, ours: Sequence[float], theirs: Sequence[float]) -> float:
    if not all(theirs):
        raise BenchError(f"{ratio.name}: the other side's figures are {list(theirs)}")
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def number_of(case: str) -> float | None:
    """The number in a case's name; None if it has none."""
    found = re.search(r"\d[\d,]*", case)
    return float(found[0].replace(",", "")) if found else None


def short(value: float) -> str:
    """Three digits or so."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _is_number(cell: str) -> bool:
    return not cell.strip("0123456789,.-")
