"""``python -m tests.faults [--only NAME] [--peers] [--page]``: try faults, write what came of them.

Without `--only` the outcomes are kept in tests/faults/results, and docs/reliability.md is made of
all that is there. Ends with status 1 if one of our promises was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.needs import sort_out
from tests.faults import report, results
from tests.faults.peers import report as peers_report
from tests.faults.peers import trial as peers
from tests.faults.peers.systems import SYSTEMS
from tests.faults.trial import FAULTS, Outcome, try_out


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    names = sorted({*FAULTS, *peers.OWN})
    parser.add_argument("--only", action="append", choices=names, metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there, too")
    parser.add_argument("--list", action="store_true", help="show the names")
    parser.add_argument("--peers", action="store_true", help="try them on the peers instead")
    parser.add_argument(
        "--system", action="append", choices=list(SYSTEMS), help="only this peer; others stay"
    )
    parser.add_argument("--page", action="store_true", help="only make the page, of what there is")
    options = parser.parse_args()
    if options.list:
        for fault in FAULTS.values():
            print(f"{fault.name:34} {fault.what}")
        return 0
    status = 0
    if not options.page:
        if options.peers or options.system:
            status = _run_peers(options.only, options.system or list(SYSTEMS), options.json)
        else:
            status = _run_ours(options.only, options.json)
    if options.only is None:
        results.write_page()
    return status


# Ours.


def _run_ours(only: Sequence[str] | None, path: Path | None) -> int:
    outcomes = asyncio.run(_try_all(only or list(FAULTS)))
    found = report.found(outcomes)
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")
    if only is None:
        results.save("faults", found)
    good = sum(outcome.is_good for outcome in outcomes)
    print(f"faults={len(outcomes)} good={good}")
    return 0 if good == len(outcomes) else 1


async def _try_all(names: Sequence[str]) -> list[Outcome]:
    outcomes = []
    for name in names:
        outcome = await try_out(FAULTS[name])
        outcomes.append(outcome)
        healed = "never" if outcome.heal_s is None else f"{outcome.heal_s:.2f} s"
        verdict = "good" if outcome.is_good else "BAD"
        print(f"{verdict:4} {name:34} healed {healed:8} by {' '.join(outcome.by)}", flush=True)
        for text in (*outcome.broken[:5], *outcome.left, outcome.error):
            if text:
                print(f"     {text[:400]}", flush=True)
    return outcomes


# Theirs.


def _run_peers(only: Sequence[str] | None, systems: Sequence[str], path: Path | None) -> int:
    missing = sort_out({system.name: system.needs for system in SYSTEMS.values()})
    for name, why in missing.items():
        print(f"{SYSTEMS[name].title} is missing: {why}")
    here = [name for name in systems if name not in missing]
    outcomes = asyncio.run(_try_peers(only, here))
    if path is not None:
        path.write_text(json.dumps(peers_report.found(outcomes, missing), indent=1) + "\n")
    if only is None:
        known = results.load("peers") or {"outcomes": []}
        others = [peers.PeerOutcome(**row) for row in known["outcomes"]]
        others = [one for one in others if one.system not in systems]
        results.save("peers", peers_report.found([*others, *outcomes], missing))
    failed = sum(bool(outcome.error) for outcome in outcomes)
    print(f"trials={len(outcomes)} failed={failed}")
    return 1 if failed else 0


async def _try_peers(only: Sequence[str] | None, systems: Sequence[str]) -> list[peers.PeerOutcome]:
    outcomes = []
    for system in (SYSTEMS[name] for name in systems):
        for name in peers.faults(system):
            if only is not None and name not in only:
                continue
            outcome = await peers.try_out(system, name)
            outcomes.append(outcome)
            healed = "never" if outcome.heal_s is None else f"{outcome.heal_s:.2f} s"
            flaws = " ".join(f"{promise}:{count}" for promise, count in outcome.broken.items())
            print(
                f"{system.name:6} {name:24} healed {healed:8} lost {outcome.lost:6} {flaws} "
                f"{outcome.error}",
                flush=True,
            )
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
