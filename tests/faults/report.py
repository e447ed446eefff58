"""The outcomes of the fault lab, of its peers and of the soak as a page."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import zmq

from tests.faults.peers import report as peers_report
from tests.faults.trial import Outcome
from tests.soak import report as soak_report

TITLE = """\
# Reliability: the fault lab

Written by `python -m tests.faults`; do not edit. Its parts come from runs of their own:

"""

CONTENTS = (
    "- [Faults](#faults): `python -m tests.faults`\n",
    "- [Side by side](#side-by-side): the same faults on other systems, "
    "`python -m tests.faults --peers`\n",
    "- [Soak](#soak): faults at random, for an hour, `python -m tests.soak --minutes 60 --save`\n",
)

HEAD = """
## Faults

A source, two followers and a caller run in processes of their own, under load: up to 200 changes,
67 payloads and 100 calls a second, through TCP meters. Each fault is inflicted on a fresh set.
Afterwards everything that all of them did is judged against the promises of
[guarantees.md](guarantees.md).

- **detected**: a counter shows it, and which; "-" where users need not notice it.
- **healed**: seconds from the end of the fault until everybody had all that the source had then,
  without help.
- **broken**: promises broken. **lost**: messages lost in silence. **left**: tasks, threads and
  descriptors that the programs left behind.
"""

TABLE = """
| fault | what is done | detected | healed, s | broken | lost | left |
| --- | --- | --- | --- | --- | --- | --- |
"""


def versions() -> str:
    """What this run runs on."""
    return (
        f"Python {platform.python_version()}, pyzmq {zmq.__version__}, libzmq "
        f"{zmq.zmq_version()}, msgpack {'.'.join(map(str, msgpack.version))}"
    )


def found(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A run of our own lab, for a file."""
    rows = [dataclasses.asdict(outcome) for outcome in outcomes]
    return {"versions": versions(), "outcomes": rows}


def page(
    faults: Mapping[str, Any] | None,
    peers: Mapping[str, Any] | None,
    soak: Mapping[str, Any] | None,
) -> str:
    """The page, of the files of the parts; None for those that never ran."""
    outcomes = [] if faults is None else [Outcome(**row) for row in faults["outcomes"]]
    there = (faults, peers, soak)
    contents = [line for line, part in zip(CONTENTS, there, strict=True) if part is not None]
    parts = [TITLE, *contents]
    if faults is not None:
        parts.append(section(outcomes, faults["versions"]))
    if peers is not None:
        parts.append(peers_report.section(peers, outcomes))
    if soak is not None:
        parts.append(soak_report.section(soak))
    return "".join(parts)


def section(outcomes: Sequence[Outcome], versions: str) -> str:
    """The part on our own faults."""
    good = sum(outcome.is_good for outcome in outcomes)
    happenings = sum(outcome.happenings for outcome in outcomes)
    summary = (
        f"\n{len(outcomes)} faults, {good} of them survived with all promises kept; "
        f"{happenings:,} happenings judged. {versions}.\n"
    )
    return HEAD + summary + TABLE + "".join(map(_row, outcomes)) + _flaws(outcomes)


def _row(outcome: Outcome) -> str:
    detected = "-" if outcome.detected is None else ", ".join(outcome.by) or "**no**"
    healed = "**never**" if outcome.heal_s is None else f"{outcome.heal_s:.2f}"
    counts = [len(outcome.broken), outcome.lost, len(outcome.left)]
    cells = [outcome.name, outcome.what, detected, healed]
    cells += [f"**{count}**" if count else "0" for count in counts]
    return f"| {' | '.join(cells)} |\n"


def _flaws(outcomes: Sequence[Outcome]) -> str:
    flaws = [
        f"- {outcome.name}: {text}\n"
        for outcome in outcomes
        for text in (*outcome.broken[:3], *outcome.left[:3], outcome.error)
        if text
    ]
    return "\n### What is wrong\n\n" + "".join(flaws) if flaws else ""
