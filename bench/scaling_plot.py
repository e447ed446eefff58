"""The picture of docs/scaling.md: relays and delay, by the number of subscribers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench import scaling
from bench.costs import UnitCosts
from bench.plots import DPI, HEIGHT, OURS, WIDTH
from bench.tree import Tree


def draw(units: UnitCosts, path: Path) -> None:
    """Draw it; a load that nothing carries has no point."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(WIDTH * 2, HEIGHT), layout="constrained")
    trees = {
        updates: [scaling.plan(units, subscribers, updates) for subscribers in scaling.MANY]
        for updates in scaling.RATES
    }
    left, right = figure.subplots(1, 2)
    _lines(left, "relays", trees, lambda tree: float(tree.relays))
    left.set_yscale("symlog", linthresh=1.0)
    left.set_ylim(bottom=0.0)
    _lines(right, "expected delay p99, ms", trees, lambda tree: tree.p99_ms)
    right.set_ylim(bottom=0.0)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def _lines(
    axes: Axes,
    title: str,
    trees: dict[float, list[Tree | None]],
    value: Callable[[Tree], float],
) -> None:
    for colour, (updates, found) in zip(OURS, trees.items(), strict=True):
        points = [
            (subscribers, value(tree))
            for subscribers, tree in zip(scaling.MANY, found, strict=True)
            if tree is not None
        ]
        if points:
            numbers, values = zip(*points, strict=True)
            axes.plot(numbers, values, color=colour, label=f"{updates:,g} updates/s")
    axes.set_xscale("log")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(f"subscribers ({scaling.SIZE} B an update)", fontsize=8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))
    axes.tick_params(labelsize=7)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7)
