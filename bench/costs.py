"""What one unit of work costs: read from kept results, else from a file that says where from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import relay, results
from bench.fanout import (
    DELAY_50,
    DELAY_99,
    DELIVERIES,
    OURS,
    OURS_TURNS,
    PROCESS,
    PUBLISHER,
    SINGLE,
    SINGLE_PROCESS,
)
from bench.report import BenchError, Report, number_of
from bench.results import Result

FILE = Path(__file__).parent / "unit_costs.json"
SOURCES = "fanout", "relay", "idle"


@dataclass(frozen=True, slots=True)
class Cost:
    """One figure.

    Attributes:
        value: In its unit.
        source: Where it was measured, for people.
    """

    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Work:
    """CPU time of a node for one update.

    Attributes:
        update_us: Of a source's own thread, whoever follows.
        child_us: Of a node's own thread, for each follower.
        io_us: Of a source's I/O thread, whoever follows.
        io_child_us: Of a node's I/O thread, for each follower.
        hop_us: Of a relay, both threads, whoever follows.
    """

    update_us: float
    child_us: float
    io_us: float
    io_child_us: float
    hop_us: float

    def at(self, is_source: bool, fan_out: float) -> tuple[float, float]:
        """Both threads of a node with so many followers; of a relay all but them in the first."""
        thread, io = (self.update_us, self.io_us) if is_source else (self.hop_us, 0.0)
        return thread + self.child_us * fan_out, io + self.io_child_us * fan_out


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """What the plan of a tree is computed from.

    A node has two threads that work: its own (Python), and libzmq's I/O thread. Under load many
    updates share a write to a socket; a single one has to wake everybody and be written alone.

    Attributes:
        loaded: While updates follow each other without a pause.
        single: Of updates that come one by one.
        apply_rate: Updates a second that a follower applies.
        direct_p50_us, direct_p99_us: From the mutation to a follower of the source itself.
        hop_p50_us, hop_p99_us: What a relay in between adds.
        node_kib: Memory of a node's process by itself.
        client_kib: Memory of a node for each follower.
        fan_out: The most followers of one node that were measured.
    """

    loaded: Work
    single: Work
    apply_rate: float
    direct_p50_us: float
    direct_p99_us: float
    hop_p50_us: float
    hop_p99_us: float
    node_kib: float
    client_kib: float
    fan_out: float


WORK = tuple(Work.__dataclass_fields__)
SINGLE_WORK = "single_"
OTHERS = tuple(name for name in UnitCosts.__dataclass_fields__ if name not in ("loaded", "single"))
NAMES = (*WORK, *(SINGLE_WORK + name for name in WORK), *OTHERS)


def load(folder: Path = results.FOLDER, file: Path = FILE) -> dict[str, Cost]:
    """All costs by name: the kept results', and from the file what they do not tell."""
    return read(file) | measured(results.load(SOURCES, folder))


def read(file: Path = FILE) -> dict[str, Cost]:
    """The file's costs.

    Raises:
        BenchError: It lacks one, or has one that nobody knows.
    """
    values = json.loads(file.read_text(encoding="utf-8"))
    wanted, found = set(NAMES), set(values)
    if wanted != found:
        raise BenchError(
            f"{file.name}: missing {sorted(wanted - found)}, unknown {sorted(found - wanted)}"
        )
    return {name: Cost(value["value"], value["source"]) for name, value in values.items()}


def together(costs: Mapping[str, Cost]) -> UnitCosts:
    """The bare values."""
    values = {name: cost.value for name, cost in costs.items()}
    loaded, single = (
        Work(**{name: values.pop(f"{kind}{name}") for name in WORK}) for kind in ("", SINGLE_WORK)
    )
    return UnitCosts(loaded, single, **values)


def unit_of(name: str) -> str:
    """The unit of a cost, for people."""
    ends = {"_us": "us", "_kib": "KiB", "_rate": "1/s"}
    return next((unit for end, unit in ends.items() if name.endswith(end)), "")


def shown(value: float) -> str:
    """The value of a cost, for people."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def measured(kept: Iterable[Result]) -> dict[str, Cost]:
    """What the results tell.

    Raises:
        BenchError: A result lacks a figure.
    """
    reports = {result.report.name: result.report for result in kept}
    found: dict[str, Cost] = {}
    for name, derive in (("fanout", _of_fanout), ("idle", _of_idle), ("relay", _of_relay)):
        if name in reports:
            try:
                values = derive(reports[name])
            except (KeyError, ValueError) as err:
                raise BenchError(
                    f"bench/results/{name}.json lacks {err}: run python -m bench {name} --save"
                ) from None
            where = f"bench/results/{name}.json"
            found |= {key: Cost(value, where) for key, value in values.items()}
    return found


def _of_fanout(report: Report) -> dict[str, float]:
    values = {
        "apply_rate": _by_number(report, OURS.name, DELIVERIES)[1],
        "direct_p50_us": _by_number(report, OURS.name, DELAY_50)[1],
        "direct_p99_us": _by_number(report, OURS.name, DELAY_99)[1],
    }
    for kind, own, both in (
        ("", PUBLISHER, PROCESS),
        (SINGLE_WORK, SINGLE, SINGLE_PROCESS),
    ):
        thread, process = _sending(report, own), _sending(report, both)
        values[f"{kind}update_us"], values[f"{kind}child_us"] = line_through(thread)
        values[f"{kind}io_us"], values[f"{kind}io_child_us"] = line_through(
            {at: process[at] - thread[at] for at in thread}
        )
        values["fan_out"] = max(thread)
    return values


def _sending(report: Report, metric: tuple[str, str]) -> dict[float, float]:
    """By the number of followers: an update a loop turn is what a source does by itself.

    With few followers only `flush` is measured.
    """
    return _by_number(report, OURS.name, metric) | _by_number(report, OURS_TURNS.name, metric)


def _of_relay(report: Report) -> dict[str, float]:
    values = {
        (row.metric, row.unit): row.median
        for row in report.rows
        if row.system == relay.OURS.name and row.case == relay.case_of(1)
    }
    p50 = max(0.0, values[relay.ADDED_50])
    return {
        # Its one follower is in there, which costs little beside the rest.
        "hop_us": values[relay.HOP_CPU],
        "single_hop_us": values[relay.HOP_SINGLE],
        "hop_p50_us": p50,
        # A difference of two rare events can come out as less than nothing.
        "hop_p99_us": max(p50, values[relay.ADDED_99]),
    }


def _of_idle(report: Report) -> dict[str, float]:
    at_source = _by_number(report, OURS.name, ("memory a client at the source", "KiB"))
    process = _by_number(report, OURS.name, ("memory of the followers' process", "KiB"))
    return {"client_kib": at_source[max(at_source)], "node_kib": process[1]}


def _by_number(report: Report, system: str, metric: tuple[str, str]) -> dict[float, float]:
    """Medians of one system, by the number of followers."""
    return {
        number: row.median
        for row in report.rows
        if row.system == system
        and (row.metric, row.unit) == metric
        and (number := number_of(row.case)) is not None
    }


def line_through(points: Mapping[float, float]) -> tuple[float, float]:
    """What is paid anyway, and what for each more: the line nearest to the points.

    Each point counts by its relative error, so that the largest do not decide alone; neither
    part is less than nothing.
    """
    return min(_lines(points), key=lambda line: _error(line, points))


def _lines(points: Mapping[float, float]) -> Sequence[tuple[float, float]]:
    """The free line if it is possible, and those with one part only."""
    weights = {at: 1.0 / max(value, 1e-9) ** 2 for at, value in points.items()}
    total = sum(weights.values())
    mean_at = sum(w * at for at, w in weights.items()) / total
    mean = sum(w * points[at] for at, w in weights.items()) / total
    spread = sum(w * (at - mean_at) ** 2 for at, w in weights.items())
    through_zero = sum(w * at * points[at] for at, w in weights.items()) / sum(
        w * at * at for at, w in weights.items()
    )
    lines = [(mean, 0.0), (0.0, through_zero)]
    if spread:
        slope = sum(w * (at - mean_at) * (points[at] - mean) for at, w in weights.items()) / spread
        lines.append((mean - slope * mean_at, slope))
    return [line for line in lines if min(line) >= 0.0]


def _error(line: tuple[float, float], points: Mapping[float, float]) -> float:
    fixed, each = line
    return sum(
        ((fixed + each * at - value) / max(value, 1e-9)) ** 2 for at, value in points.items()
    )
