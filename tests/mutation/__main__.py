"""``python -m tests.mutation [MODULE...]``: make mistakes, run the tests, show what they miss.

    MODULE           as in wire/journal.py; all by default
    --jobs N         mistakes at once
    --every N        only each Nth mistake, for an estimate
    --no-fresh       leave out mistakes outside of functions, which take seconds each
    --tests PATH     these tests instead of those that go with the module
    --json FILE      write the figures there as well, and what survived
    --again FILE     of what such a file holds, try only what survived

Ends with status 1 if a mistake survives that is not known to be none (README.md).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TypedDict

import pytest

from tests.mutation.equivalent import known_equivalents
from tests.mutation.hunt import Hunt, Verdict
from tests.mutation.modules import GROUPS, ROOT, Group
from tests.mutation.operators import Mutant, mutants


class Row(TypedDict):
    """The figures of a module; `survivors` are named by function, line and change."""

    module: str
    mutants: int
    killed: int
    equivalent: int
    survived: int
    survivors: list[tuple[str, str, str]]


def main() -> int:
    options = _options()
    rows: list[Row] = []
    before: dict[str, Row] = {}
    if options.again:
        told = json.loads(Path(options.again).read_text(encoding="utf-8"))
        before = {row["module"]: row for row in told}
    for group in GROUPS:
        modules = [m for m in group.modules if not options.modules or m in options.modules]
        if modules:
            verdicts = _hunt(group, modules, options, before)
            rows += [_row(module, verdicts[module], before.get(module)) for module in modules]
    survived = sum(row["survived"] for row in rows)
    for row in (*rows, _total(rows)):
        print("{module:<24} {mutants:>5} {killed:>5} {equivalent:>5} {survived:>5}".format(**row))
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 1 if survived else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--no-fresh", action="store_true")
    parser.add_argument("--tests", metavar="PATH", action="append")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--again", metavar="FILE")
    return parser.parse_args()


def _hunt(
    group: Group, modules: list[str], options: argparse.Namespace, before: dict[str, Row]
) -> dict[str, list[tuple[Verdict, bool]]]:
    """The verdicts on all mistakes of some modules; whether each is known to be none."""
    made = [m for module in modules for m in mutants(ROOT / "amzmq" / module)]
    if options.no_fresh:
        made = [mutant for mutant in made if mutant.owner]
    made = made[:: options.every]
    if before:
        wanted = {(row["module"], *key) for row in before.values() for key in row["survivors"]}
        made = [mutant for mutant in made if (_module(mutant), *_key(mutant)) in wanted]
    verdicts: dict[str, list[tuple[Verdict, bool]]] = defaultdict(list)
    known = known_equivalents()
    started = time.monotonic()

    def report(verdict: Verdict) -> None:
        mutant = verdict.mutant
        module = _module(mutant)
        equivalent = (module, *_key(mutant)) in known
        verdicts[module].append((verdict, equivalent))
        if not verdict.killer and not equivalent:
            where = f"{module}:{mutant.line} {mutant.owner or 'module'}"
            print(f"survived: {where}\n    {mutant.source}\n    {mutant.what}", flush=True)
        if verdict.killer and equivalent:
            print(f"killed after all, by {verdict.killer}: {mutant.source} {mutant.what}")

    arguments = ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "tests.mutation.plain"]
    arguments += [str(ROOT / test) for test in options.tests or group.tests]
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        hunt = Hunt(made, options.jobs, group.slowest_s, report, arguments)
        pytest.main(["-s", "-q", *arguments], plugins=[hunt])
        tempfile.tempdir = None
    print(f"{len(made)} mistakes in {time.monotonic() - started:.0f} s", flush=True)
    return verdicts


def _module(mutant: Mutant) -> str:
    return str(mutant.path.relative_to(ROOT / "amzmq"))


def _key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.owner, mutant.source, mutant.what


def _row(module: str, verdicts: list[tuple[Verdict, bool]], before: Row | None) -> Row:
    """The figures of a module, with those that were killed before."""
    alive = [(verdict.mutant, known) for verdict, known in verdicts if not verdict.killer]
    equivalent = sum(known for _, known in alive)
    mutants = len(verdicts) if before is None else before["mutants"]
    return {
        "module": module,
        "mutants": mutants,
        "killed": mutants - len(alive),
        "equivalent": equivalent,
        "survived": len(alive) - equivalent,
        "survivors": [_key(mutant) for mutant, _ in alive],
    }


def _total(rows: list[Row]) -> Row:
    return {
        "module": "all",
        "mutants": sum(row["mutants"] for row in rows),
        "killed": sum(row["killed"] for row in rows),
        "equivalent": sum(row["equivalent"] for row in rows),
        "survived": sum(row["survived"] for row in rows),
        "survivors": [],
    }


if __name__ == "__main__":
    sys.exit(main())
