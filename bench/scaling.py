"""The figures of docs/scaling.md: computed from the unit costs, written between its markers."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import costs, results
from bench.costs import Cost, UnitCosts
from bench.tree import Impossible, Limits, Load, Model, Tree
from bench.workers import ROOT

PAGE = ROOT / "docs" / "scaling.md"
PICTURE = "scaling.png"
BEGIN, END = "<!-- plan: begin -->", "<!-- plan: end -->"

# The worked example, as it comes and with a limit for the delay; and what the picture draws.
SUBSCRIBERS, UPDATES, SIZE = (1_000, 100_000, 1_000_000), 100.0, 40
DELAY_MS = 10.0
NETWORKS_GBIT = 1.0, 10.0
RATES = 1.0, 10.0, 100.0, 1_000.0, 10_000.0
MANY = tuple(round(10 ** (tenth / 5)) for tenth in range(10, 36))

MEANINGS = {
    "update_us": "a source's own thread, for an update among many",
    "child_us": "a node's own thread, for each follower of it",
    "io_us": "a source's I/O thread, for an update among many",
    "io_child_us": "a node's I/O thread, for each follower of it",
    "hop_us": "a relay, for an update among many",
    "single_update_us": "a source's own thread, for a single update",
    "single_child_us": "a node's own thread, for each follower of it",
    "single_io_us": "a source's I/O thread, for a single update",
    "single_io_child_us": "a node's I/O thread, for each follower of it",
    "single_hop_us": "a relay, for a single update",
    "apply_rate": "updates that one follower applies, at least",
    "direct_p50_us": "delay from the mutation to a follower of the source, p50",
    "direct_p99_us": "the same, p99",
    "hop_p50_us": "what a relay adds to it, p50",
    "hop_p99_us": "the same, p99",
    "node_kib": "memory of a node's process",
    "client_kib": "and for each of its followers",
    "fan_out": "followers of one node, as many as were measured",
}


def write(folder: Path = results.FOLDER, page: Path = PAGE, pictures: Path = results.PLOTS) -> None:
    """Compute everything anew, and replace what is between the markers of the page.

    Raises:
        BenchError: The page has no such markers, or a cost is missing.
    """
    known = costs.load(folder)
    units = costs.together(known)
    picture = pictures / PICTURE
    if importlib.util.find_spec("matplotlib") is not None:
        from bench import scaling_plot

        scaling_plot.draw(units, picture)
    body = as_markdown(known, units)
    if picture.exists():
        body += f"\n\n![relays and delays]({picture.relative_to(page.parent).as_posix()})"
    results.write_between(page, BEGIN, END, body)


def as_markdown(known: Mapping[str, Cost], units: UnitCosts) -> str:
    """All tables."""
    parts = [
        "### Unit costs",
        results.as_rows(_cost_rows(known)),
        f"### {UPDATES:,g} updates a second of {SIZE} B",
        results.as_rows(_example_rows(units)),
        "### What one relay carries",
        "Computed from its threads and its network alone: a node with more than "
        f"{units.fan_out:,.0f} followers was never measured.",
        results.as_rows(_node_rows(units)),
    ]
    return "\n\n".join(parts)


def limits_of(units: UnitCosts) -> Limits:
    """The usual ones, with no more followers of a node than were measured."""
    return Limits(fan_out=int(units.fan_out))


def plan(
    units: UnitCosts, subscribers: int, updates: float, max_delay_ms: float | None = None
) -> Tree | None:
    """The tree, with the usual limits; None if there is none."""
    limits = replace(limits_of(units), max_delay_ms=max_delay_ms)
    try:
        return Model(units, Load(subscribers, updates, SIZE), limits).plan()
    except Impossible:
        return None


def _cost_rows(known: Mapping[str, Cost]) -> Sequence[Sequence[str]]:
    rows = [
        (MEANINGS[name], f"{costs.shown(cost.value)} {costs.unit_of(name)}".strip(), cost.source)
        for name, cost in known.items()
    ]
    return [("what", "cost", "from"), *rows]


def _example_rows(units: UnitCosts) -> Sequence[Sequence[str]]:
    head = (
        "subscribers", "relays", "followers of a node", "source's threads", "a relay's threads",
        "sent by a node", "in all", "p50", "p99",
    )  # fmt: skip
    rows = [
        _example_row(f"{n:,}{words}", plan(units, n, UPDATES, limit))
        for n in SUBSCRIBERS
        for words, limit in (("", None), (f", p99 within {DELAY_MS:g} ms", DELAY_MS))
    ]
    return [head, *rows]


def _example_row(name: str, tree: Tree | None) -> Sequence[str]:
    if tree is None:
        return (name, "impossible", *[""] * 7)
    edge = tree.levels[-1]
    relays = [f"{level.nodes:,}" for level in tree.levels[1:]]
    fan_outs = [f"{level.fan_out:,}" for level in tree.levels]
    busiest = max(tree.levels, key=lambda level: level.out_mbit)
    return (
        name,
        " + ".join(relays) or "none",
        ", ".join(fan_outs),
        f"{tree.levels[0].thread:.0%}, {tree.levels[0].io:.0%} of a core",
        f"{edge.thread:.0%}, {edge.io:.0%}" if tree.depth else "",
        f"{busiest.out_mbit:,.0f} Mbit/s",
        f"{tree.total_mbit / 1000:,.1f} Gbit/s",
        f"{tree.p50_ms:.1f} ms",
        f"{tree.p99_ms:.1f} ms",
    )


def _node_rows(units: UnitCosts) -> Sequence[Sequence[str]]:
    """How many followers a relay can have if their number is limited by nothing but its means."""
    rows = []
    for updates in RATES:
        cells = [f"{updates:,g}"]
        for gbit in NETWORKS_GBIT:
            limits = Limits(fan_out=10**9, bandwidth_mbit=gbit * 1000)
            most, limit = Model(units, Load(1, updates, SIZE), limits).most(False)
            cells += [f"{max(0, most):,}", limit]
        rows.append(cells)
    networks = [f"followers with {gbit:g} Gbit/s" for gbit in NETWORKS_GBIT]
    return [("updates a second", networks[0], "limited by", networks[1], "limited by"), *rows]
