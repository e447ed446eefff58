"""Replays files of conformance cases: python -m tests.conformance.run [--replica] FILE...

With --replica every mutation is made by a replica, over TCP on this computer, and both ends are
compared.

Prints the first difference of each failing case, then how many passed and failed. The exit status
is 0 when all passed, 1 when any failed, and 2 when a file could not be read as cases.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.replay import Case, CaseError, Difference, check_form, replay
from tests.conformance.replica import replay_all


def load(path: Path) -> list[Case]:
    """Read the cases of a JSON Lines file.

    Raises:
        CaseError: The file cannot be read, or a line is no case; it says which.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: cannot be read: {error}") from error
    # Not splitlines(): a JSON string may hold other characters that it takes for a line's end.
    lines = enumerate(text.split("\n"), start=1)
    cases = [_parse(f"{path}:{number}", line) for number, line in lines if line.strip()]
    if not cases:
        # A run that checks nothing must not look like one that passed.
        raise CaseError(f"{path}: no cases in it")
    return cases


def _parse(where: str, line: str) -> Case:
    try:
        case: Case = json.loads(line)
        check_form(case)
    except json.JSONDecodeError as error:
        raise CaseError(f"{where}: not JSON: {error}") from error
    except CaseError as error:
        raise CaseError(f"{where}: not a case: {error}") from error
    return case


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.run", description="Replay files of conformance cases."
    )
    parser.add_argument(
        "--replica", action="store_true", help="make the mutations through a replica, over TCP"
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    options = parser.parse_args(argv)
    # Many cases are about faulty schemas and errors; what the machine logs of them is no finding.
    logging.getLogger("amzmq").addHandler(logging.NullHandler())
    try:
        # All files before the first replay: a typing error should not show after a long run.
        cases = [case for file in options.files for case in load(file)]
        failed = asyncio.run(_run_replicas(cases)) if options.replica else _run(cases)
    except CaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"passed={len(cases) - failed} failed={failed}")
    return 1 if failed else 0


def _run(cases: Sequence[Case]) -> int:
    failed = 0
    for case in cases:
        if difference := replay(case):
            failed += 1
            _show(case, difference)
    return failed


async def _run_replicas(cases: Sequence[Case]) -> int:
    differing = await replay_all(cases)
    for case, difference in differing:
        _show(case, difference)
    return len(differing)


def _show(case: Case, difference: Difference) -> None:
    print(f"{case['id']}: {difference}")


if __name__ == "__main__":
    sys.exit(main())
