"""Our outcomes and those of the peers, side by side."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import zmq

from tests.faults.lab import HEAL_S
from tests.faults.peers.systems import SYSTEMS, System
from tests.faults.peers.trial import OWN, SHARED, PeerOutcome, what
from tests.faults.trial import Outcome
from tests.oracles.promises import Promise

HEAD = f"""
## Side by side

The same faults by the same meters on other systems, each built as its own guide has it: a source
that changes one key at a time, up to 200 times a second, and says an event after every third, and
two followers. For Redis and NATS the meters are between the followers and the broker. What they
did is judged by the same oracles, as far as a system without calls and numbered messages can break
a promise: Ordered, Unique, Atomic, Reliable, Never ahead; and events that a follower was owed and
never given are counted as lost, if nobody told it. Changes of several keys at once are not tried:
only amzmq and Redis claim them.

A cell has the seconds until all were level again (**never**: not within {HEAL_S:.0f} s), and
what went wrong: in bold what the system claims, in italics what it does not claim. amzmq's cells
are those of the table above: its followers see payloads, calls and several views besides. "-": not
tried there. The last row counts what is broken of what is claimed.
"""


def versions() -> str:
    """Of all that was tried."""
    known = [f"libzmq {zmq.zmq_version()}, pyzmq {zmq.__version__}"]
    for system in SYSTEMS.values():
        if system.needs.lacking():
            continue
        known += [
            subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip()
            for program in system.needs.programs
        ]
        names = {"redis": "redis", "nats": "nats-py"}
        known += [
            f"{names[package]} {importlib.metadata.version(names[package])}"
            for package in system.needs.packages
        ]
    return "; ".join(known)


def found(outcomes: Sequence[PeerOutcome], missing: Mapping[str, str]) -> dict[str, Any]:
    """A run on all peers, for a file."""
    rows = [dataclasses.asdict(outcome) for outcome in outcomes]
    return {"versions": versions(), "outcomes": rows, "missing": dict(missing)}


def section(found: Mapping[str, Any], ours: Sequence[Outcome]) -> str:
    """The part on peers."""
    outcomes = [PeerOutcome(**row) for row in found["outcomes"]]
    cells = {(outcome.fault, outcome.system): _cell(outcome) for outcome in outcomes}
    own = {outcome.name: _own_cell(outcome) for outcome in ours}
    titles = ["fault", "amzmq", *(system.title for system in SYSTEMS.values())]
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for name in ("no-fault", *SHARED, *(name for name in OWN if name != "no-fault")):
        row = [what(name), own.get(name, "-")]
        row += [
            "missing" if system in found["missing"] else cells.get((name, system), "-")
            for system in SYSTEMS
        ]
        lines.append(f"| {' | '.join(row)} |")
    totals = ["all", _own_total(ours)]
    totals += [_total([one for one in outcomes if one.system == name]) for name in SYSTEMS]
    lines.append(f"| {' | '.join(totals)} |")
    says = [f"- **{system.title}.** {system.claims}" for system in SYSTEMS.values()]
    says += [f"- {SYSTEMS[name].title} is missing: {why}" for name, why in found["missing"].items()]
    table, notes = "\n".join(lines), "\n".join(says)
    return f"{HEAD}\n{table}\n\n{found['versions']}.\n\n### What the others claim\n\n{notes}\n"


def _cell(outcome: PeerOutcome) -> str:
    if outcome.error:
        return f"failed: {outcome.error[:60]}"
    system = SYSTEMS[outcome.system]
    parts = ["**never**" if outcome.heal_s is None else f"{outcome.heal_s:.2f}"]
    parts += [
        _marked(system, Promise(name), f"{name} {count}") for name, count in outcome.broken.items()
    ]
    if outcome.lost:
        parts.append(_marked(system, Promise.LOSSES_COUNTED, f"{outcome.lost} lost"))
    return ", ".join(parts)


def _marked(system: System, promise: Promise, text: str) -> str:
    return f"_{text}_" if promise in system.unclaimed else f"**{text}**"


def _own_cell(outcome: Outcome) -> str:
    parts = ["**never**" if outcome.heal_s is None else f"{outcome.heal_s:.2f}"]
    if outcome.broken:
        parts.append(f"**{len(outcome.broken)} broken**")
    return ", ".join(parts)


def _own_total(ours: Sequence[Outcome]) -> str:
    tried = [outcome for outcome in ours if outcome.name in SHARED]
    healed = sum(outcome.heal_s is not None for outcome in tried)
    broken = sum(len(outcome.broken) for outcome in tried)
    lost = sum(outcome.lost for outcome in tried)
    return f"{healed} of {len(tried)} healed, {broken} broken, {lost} lost"


def _total(outcomes: Sequence[PeerOutcome]) -> str:
    if not outcomes:
        return "-"
    healed = sum(outcome.heal_s is not None for outcome in outcomes)
    unclaimed = SYSTEMS[outcomes[0].system].unclaimed
    broken = sum(
        count
        for outcome in outcomes
        for name, count in outcome.broken.items()
        if Promise(name) not in unclaimed
    )
    lost = sum(outcome.lost for outcome in outcomes)
    return f"{healed} of {len(outcomes)} healed, {broken} broken, {lost} lost"
