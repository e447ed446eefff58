"""The outcomes of the fault lab as a page."""

from __future__ import annotations

import platform
from collections.abc import Sequence

import msgpack
import zmq

from tests.faults.trial import Outcome

HEAD = """\
# Reliability: the fault lab

Written by `python -m tests.faults`; do not edit. A source, two followers and a caller run in
processes of their own, under load: up to 200 changes, 67 payloads and 100 calls a second, through
TCP meters. Each fault is inflicted on a fresh set. Afterwards everything that all of them did is
judged against the promises of [guarantees.md](guarantees.md).

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


def page(outcomes: Sequence[Outcome]) -> str:
    """The page."""
    good = sum(outcome.is_good for outcome in outcomes)
    versions = (
        f"Python {platform.python_version()}, pyzmq {zmq.__version__}, libzmq "
        f"{zmq.zmq_version()}, msgpack {'.'.join(map(str, msgpack.version))}"
    )
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
    return "\n## What is wrong\n\n" + "".join(flaws) if flaws else ""
