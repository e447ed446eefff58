"""``python -m tests.faults [--only NAME] [--json FILE]``: try all faults, write what came of them.

Without `--only` the table goes to docs/reliability.md. Ends with status 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from tests.faults.process import ROOT
from tests.faults.report import page
from tests.faults.trial import FAULTS, Outcome, try_out

PAGE = ROOT / "docs" / "reliability.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there, too")
    parser.add_argument("--list", action="store_true", help="show the names")
    options = parser.parse_args()
    if options.list:
        for fault in FAULTS.values():
            print(f"{fault.name:34} {fault.what}")
        return 0
    outcomes = asyncio.run(_try_all(options.only or list(FAULTS)))
    if options.json is not None:
        rows = [dataclasses.asdict(outcome) for outcome in outcomes]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.only is None:
        PAGE.write_text(page(outcomes))
    good = sum(outcome.is_good for outcome in outcomes)
    print(f"faults={len(outcomes)} good={good}")
    return 0 if good == len(outcomes) else 1


async def _try_all(names: list[str]) -> list[Outcome]:
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


if __name__ == "__main__":
    sys.exit(main())
