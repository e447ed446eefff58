"""`python -m bench.plan --subscribers 1e6 --updates 100 --bytes 40`: the tree that carries a load.

Computed from what `python -m bench fanout`, `relay` and `idle` measured, if their results are
kept in bench/results/, else from bench/unit_costs.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import costs, grove, results, scaling
from bench.costs import Cost, UnitCosts
from bench.grove import Outcome
from bench.report import BenchError, aligned
from bench.tree import Limits, Load, Model, Tree


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        if args.save:
            scaling.write(args.results)
            return 0
        known = costs.load(args.results, args.costs)
        units = costs.together(known)
        tree = Model(units, load_of(args), limits_of(args, units)).plan()
        outcome = simulated(tree, args) if args.simulate else None
    except BenchError as err:
        if args.json:
            print(json.dumps({"error": str(err)}))
        print(f"bench.plan: {err}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(as_json(tree, known, outcome), indent=2))
    else:
        print(as_text(tree, known, outcome))
    return 0 if outcome is None or outcome.holds else 1


def parser() -> argparse.ArgumentParser:
    default = Limits()
    result = argparse.ArgumentParser(
        prog="python -m bench.plan", description="The tree of relays that carries a load."
    )
    add = result.add_argument
    add("--subscribers", type=_count, default=1_000_000, help="followers at the edge; 1e6 is fine")
    add("--updates", type=_positive, default=100.0, help="updates a second")
    add("--bytes", type=_count, default=40, help="bytes of an update")
    add("--per-node-cores", type=_positive, default=default.cores,
        help="cores for a node's two threads; more than two are of no use to it")  # fmt: skip
    add("--bandwidth", type=_positive, default=default.bandwidth_mbit,
        help="Mbit/s that a node can send")  # fmt: skip
    add("--latency", type=_not_negative, default=default.latency_ms,
        help="of the network between two nodes, one way, in ms")  # fmt: skip
    add("--utilisation", type=_share, default=default.utilisation,
        help="share of a thread and of the network that may be used")  # fmt: skip
    add("--fan-out", type=_count, default=None,
        help="the most followers of a node (default: as many as were measured)")  # fmt: skip
    add("--spare", type=_natural, default=default.spare,
        help="relays of each level that may be away")  # fmt: skip
    add("--max-delay", type=_positive, default=None, help="of the p99 delay, in ms")
    add("--simulate", action="store_true", help="grow it small, damage it, see that it heals")
    add("--seed", type=int, default=1, help="of the simulation")
    add("--followers", type=_count, default=200, help="of the simulation, at most")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--results", type=Path, default=results.FOLDER, help="folder of kept results")
    add("--costs", type=Path, default=costs.FILE, help="file with the costs that have no result")
    add("--save", action="store_true", help="write the figures of docs/scaling.md, plan nothing")
    return result


def load_of(args: argparse.Namespace) -> Load:
    """What the arguments say is to be carried."""
    return Load(args.subscribers, args.updates, args.bytes)


def limits_of(args: argparse.Namespace, units: UnitCosts) -> Limits:
    """What the arguments say a node has; nobody knows what more followers than measured cost."""
    return Limits(
        cores=args.per_node_cores,
        bandwidth_mbit=args.bandwidth,
        latency_ms=args.latency,
        utilisation=args.utilisation,
        fan_out=args.fan_out or int(units.fan_out),
        spare=args.spare,
        max_delay_ms=args.max_delay,
    )


def simulated(tree: Tree, args: argparse.Namespace) -> Outcome:
    """The tree grown as large as is wanted and memory allows."""
    followers = grove.most_followers(tree, args.followers, available_kib())
    return grove.simulate(grove.scale_of(tree, followers), args.seed)


def available_kib() -> int:
    """Memory that is free to be used, as the kernel estimates it."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0])
    raise BenchError("/proc/meminfo has no MemAvailable: give --followers a small number")


def as_json(tree: Tree, known: Mapping[str, Cost], outcome: Outcome | None) -> dict[str, Any]:
    """Everything as plain values."""
    values = {
        "load": asdict(tree.load),
        "limits": asdict(tree.limits),
        "levels": [asdict(level) for level in tree.levels],
        "relays": tree.relays,
        "depth": tree.depth,
        "p50_ms": tree.p50_ms,
        "p99_ms": tree.p99_ms,
        "total_mbit": tree.total_mbit,
        "costs": {name: asdict(cost) for name, cost in known.items()},
    }
    if outcome is not None:
        values["simulation"] = {**asdict(outcome), "scale_text": str(outcome.scale),
                                "holds": outcome.holds}  # fmt: skip
    return values


def as_text(tree: Tree, known: Mapping[str, Cost], outcome: Outcome | None) -> str:
    """The same for people."""
    load = tree.load
    parts = [
        f"{load.subscribers:,} subscribers, {load.updates:,g} updates a second of {load.size} B: "
        + (f"{tree.relays:,} relays, {tree.depth} deep" if tree.depth else "no relays"),
        "\n".join(aligned(rows_of(tree))),
        f"delay from the mutation to a follower: p50 {tree.p50_ms:.2f} ms, p99 {tree.p99_ms:.2f} "
        f"ms; {load.subscribers * load.updates:,.0f} deliveries a second, "
        f"{tree.total_mbit:,.0f} Mbit/s in all",
        "\n".join(aligned([("unit cost", "value", "unit", "from"), *cost_rows(known)])),
    ]
    if outcome is not None:
        parts.append(told(outcome))
    return "\n\n".join(parts)


def rows_of(tree: Tree) -> list[tuple[str, ...]]:
    """A line a level."""
    head = ("level", "nodes", "fan-out", "thread", "I/O", "Mbit/s", "MiB", "adds p50, ms",
            "p99", "could have", "limited by")  # fmt: skip
    lines = [
        (
            level.name, f"{level.nodes:,}", f"{level.fan_out:,}", f"{level.thread:.0%}",
            f"{level.io:.0%}", f"{level.out_mbit:,.1f}", f"{level.memory_mib:,.0f}",
            f"{level.p50_ms:.2f}", f"{level.p99_ms:.2f}", f"{level.most:,}", level.limit,
        )
        for level in tree.levels
    ]  # fmt: skip
    return [head, *lines]


def cost_rows(known: Mapping[str, Cost]) -> list[tuple[str, str, str, str]]:
    """A line a cost."""
    return [
        (name, costs.shown(cost.value), costs.unit_of(name), cost.source)
        for name, cost in known.items()
    ]


def told(outcome: Outcome) -> str:
    """How a simulation ended, for people."""
    verdict = (
        "every follower equals the source, and every payload was given or counted as lost"
        if outcome.holds
        else f"different: {', '.join(outcome.different) or 'none'}; "
        f"payloads not accounted for: {', '.join(outcome.uncounted) or 'none'}"
    )
    return (
        f"simulated {outcome.scale}\n"
        f"{outcome.updates} updates and {outcome.payloads} payloads in {outcome.virtual_s:.1f} "
        f"virtual seconds ({outcome.wall_s:.1f} s); the network lost {outcome.dropped:,} frames, "
        f"{outcome.deaths} relays died and came back; followers noticed {outcome.gaps:,} gaps, "
        f"took {outcome.snapshots:,} snapshots, counted {outcome.payloads_lost:,} payloads as "
        f"lost\n{verdict}"
    )


def _positive(text: str) -> float:
    number = float(text)
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError("more than 0")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0.0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("not less than 0")
    return number


def _natural(text: str) -> int:
    return int(_not_negative(text))


def _share(text: str) -> float:
    number = float(text)
    if not 0.0 < number < 1.0:
        raise argparse.ArgumentTypeError("between 0 and 1")
    return number


def _count(text: str) -> int:
    number = _positive(text)
    if number != int(number):
        raise argparse.ArgumentTypeError("a whole number")
    return int(number)


if __name__ == "__main__":
    sys.exit(main())
