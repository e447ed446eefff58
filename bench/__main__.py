"""The command: `python -m bench NAME [--json] [--runs N] [--quick]`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata

from bench.report import BenchError, Report

NAMES = ("engine", "rtt", "fanout")
PACKAGES = ("pyzmq", "msgpack", "transitions", "python-statemachine")


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    names = NAMES if args.name == "all" else (args.name,)
    reports: list[Report] = []
    for name in names:
        try:
            reports.append(run(name, args.runs, args.quick))
        except BenchError as err:
            print(f"bench {name}: {err}", file=sys.stderr)
            return 1
        if not args.json:
            print(reports[-1].as_table(), end="\n\n", flush=True)
    if args.json:
        values = [report.as_json() for report in reports]
        print(json.dumps(values if args.name == "all" else values[0], indent=2))
    else:
        print(environment())
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    result.add_argument("name", choices=(*NAMES, "all"))
    result.add_argument("--json", action="store_true", help="print JSON instead of a table")
    result.add_argument(
        "--runs", type=_at_least_one, help="medians of how many runs (default: 5, of rtt 9)"
    )
    result.add_argument(
        "--quick", action="store_true", help="tiny counts: shows that it works, not how fast"
    )
    return result


def run(name: str, runs: int | None, quick: bool) -> Report:
    # Not imported before it is wanted: the engine's benchmark needs no network.
    module = importlib.import_module(f"bench.{name}")
    report: Report = module.run(runs or module.RUNS, quick)
    return report


def environment() -> str:
    """What a figure depends on besides us."""
    packages = [f"{name} {_version(name)}" for name in PACKAGES]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return ", ".join([python, *packages, f"{platform.system()}, {os.cpu_count()} cores"])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
