"""Pictures of the results, as PNG; matplotlib comes with the extra `bench` only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.report import Report, Row, number_of, short

# One colour a system, in all pictures: ours blue, limits grey, peers the others.
OURS = "#1f5fbf", "#5b9bff", "#0b2f66", "#8ab8ff", "#34c0d8"
OTHERS = {
    "raw pyzmq": "#555555",
    "raw pyzmq on asyncio": "#a5a5a5",
    "raw pyzmq, both ways": "#7d7d7d",
    "Redis pub/sub": "#d1495b",
    "NATS": "#e0902f",
    "grpc.aio": "#4f9d5b",
    "grpc.aio stream": "#4f9d5b",
    "RPyC": "#8a5bb5",
    "Pyro5": "#b5835a",
    "transitions": "#d1495b",
    "python-statemachine": "#e0902f",
}
UNKNOWN = "#000000"
WIDTH, HEIGHT, DPI = 6.0, 3.6, 120


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        metric: What it shows.
        lines: Whether the cases are numbers to draw a line along, or else bars beside each other.
        cases: Only the cases that contain this.
        log: Whether the values' scale is logarithmic.
    """

    metric: str
    lines: bool = True
    cases: str = ""
    log: bool = True


PANELS = {
    "engine": [Panel("state changes", lines=False)],
    "rtt": [Panel("p50", lines=False, log=False), Panel("p99", lines=False, log=False)],
    "rtt_pipelined": [Panel("calls"), Panel("client CPU a call")],
    "fanout": [
        Panel("deliveries"),
        Panel("publisher CPU an update"),
        Panel("burst, until the last has all"),
        Panel("delay p50"),
    ],
    "burst": [
        Panel("last follower has all", cases="in the source's process"),
        Panel("last follower has all", cases="in other processes"),
    ],
    "views": [Panel("publisher CPU an update"), Panel("deliveries")],
    "states": [Panel("publisher CPU an update"), Panel("connect")],
    "relay": [
        Panel("updates forwarded", lines=False, log=False, cases="1 hop"),
        Panel("hop CPU an update", lines=False, log=False, cases="1 hop"),
        Panel("added delay p50", lines=False, log=False),
        Panel("added delay p99", lines=False, log=False),
    ],
    "bytes": [Panel("both ways", lines=False, log=False)],
}


def draw(report: Report, folder: Path) -> Path | None:
    """Draw a report; None if there is no picture of its kind."""
    panels = PANELS.get(report.name)
    if not panels:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * lines), layout="constrained")
    colours = _colours([row.system for row in report.rows])
    for at, panel in enumerate(panels):
        axes = figure.add_subplot(lines, columns, at + 1)
        rows = [r for r in report.rows if r.metric == panel.metric and panel.cases in r.case]
        (_draw_lines if panel.lines else _draw_bars)(axes, rows, colours)
        _dress(axes, panel, rows)
    path = folder / f"{report.name}.png"
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def _draw_lines(axes: Axes, rows: Sequence[Row], colours: dict[str, str]) -> None:
    for system in dict.fromkeys(row.system for row in rows):
        points = sorted(
            (number, row.median, row.min, row.max)
            for row in rows
            if row.system == system and (number := number_of(row.case)) is not None
        )
        if not points:
            continue
        numbers, medians, least, most = zip(*points, strict=True)
        colour = colours[system]
        axes.plot(numbers, medians, marker="o", markersize=4, color=colour, label=system)
        axes.fill_between(numbers, least, most, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    ticks = sorted({number for row in rows if (number := number_of(row.case)) is not None})
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks], minor=False)
    axes.minorticks_off()
    words = {re.sub(r"[\d,]+", "", row.case).strip() for row in rows if number_of(row.case)}
    axes.set_xlabel(max(words, key=len, default=""), fontsize=8)
    if ticks:
        axes.legend(fontsize=7)


def _draw_bars(axes: Axes, rows: Sequence[Row], colours: dict[str, str]) -> None:
    cases = list(dict.fromkeys(row.case for row in rows))
    rows = sorted(rows, key=lambda row: cases.index(row.case))
    single = len(cases) == 1
    names = [row.system if single else f"{row.case}: {row.system}" for row in rows]
    places = range(len(rows), 0, -1)
    errors = [[r.median - r.min for r in rows], [r.max - r.median for r in rows]]
    bars = axes.barh(
        list(places),
        [row.median for row in rows],
        xerr=errors,
        color=[colours[row.system] for row in rows],
        error_kw={"elinewidth": 1, "ecolor": "#333333"},
    )
    axes.bar_label(bars, [f" {short(row.median)}" for row in rows], fontsize=7)
    axes.set_yticks(list(places), names, fontsize=7)
    axes.margins(x=0.15)


def _dress(axes: Axes, panel: Panel, rows: Sequence[Row]) -> None:
    unit = next((row.unit for row in rows), "")
    values = axes.yaxis if panel.lines else axes.xaxis
    # Nothing has no place on a logarithmic scale.
    if panel.log and rows:
        (axes.set_yscale if panel.lines else axes.set_xscale)("log")
    values.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_title(", ".join(filter(None, (panel.metric, unit, panel.cases))), fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(axis="y" if panel.lines else "x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _colours(systems: Sequence[str]) -> dict[str, str]:
    ours = [system for system in dict.fromkeys(systems) if system.startswith("amzmq")]
    chosen = {system: OURS[at % len(OURS)] for at, system in enumerate(ours)}
    return {system: chosen.get(system, OTHERS.get(system, UNKNOWN)) for system in systems}
