"""The command: `python -m bench NAME [--json] [--runs N] [--quick] [--save]`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import costs, results, scaling
from bench.environment import facts, in_a_line
from bench.report import BenchError, Report
from bench.results import Result

NAMES = (
    "engine",
    "rtt",
    "rtt_pipelined",
    "fanout",
    "burst",
    "views",
    "states",
    "relay",
    "idle",
    "bytes",
    "sidecar",
    "persist",
)


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.save and args.quick:
        print("bench: --quick tells nothing worth to --save", file=sys.stderr)
        return 2
    reports: list[Report] = []
    failed = False
    for name in NAMES if args.name == "all" else (args.name,):
        try:
            reports.append(run(name, args.runs, args.quick))
            if args.save:
                keep(reports[-1])
        except BenchError as err:
            # The others are worth having all the same.
            print(f"bench {name}: {err}", file=sys.stderr)
            failed = True
            continue
        if not args.json:
            print(reports[-1].as_table(), end="\n\n", flush=True)
    if reports:
        conclude(reports, args.json, args.name == "all")
    return int(failed)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    result.add_argument("name", choices=(*NAMES, "all"))
    result.add_argument("--json", action="store_true", help="print JSON instead of a table")
    result.add_argument(
        "--runs", type=_at_least_one, help="medians of how many runs (default: its own number)"
    )
    result.add_argument(
        "--quick", action="store_true", help="tiny counts: shows that it works, not how fast"
    )
    result.add_argument(
        "--save", action="store_true", help="keep the figures, in bench/results/ and docs/"
    )
    return result


def run(name: str, runs: int | None, quick: bool) -> Report:
    # Not imported before it is wanted: the engine's benchmark needs no network.
    module = importlib.import_module(f"bench.{name}")
    report: Report = module.run(runs or module.RUNS, quick)
    return report


def keep(
    report: Report,
    folder: Path = results.FOLDER,
    page: Path = results.PAGE,
    pictures: Path = results.PLOTS,
    scaling_page: Path = scaling.PAGE,
) -> None:
    """Write a report to its file, its picture, and all that are kept to the pages."""
    results.store(Result(report, facts()), folder)
    if importlib.util.find_spec("matplotlib") is None:
        print("bench: no picture: pip install 'amzmq[bench]' for matplotlib", file=sys.stderr)
    else:
        from bench import plots

        plots.draw(report, pictures)
    results.write_page(results.load(NAMES, folder), page, pictures)
    if report.name in costs.SOURCES:
        scaling.write(folder, scaling_page, pictures)


def conclude(reports: Sequence[Report], as_json: bool, several: bool) -> None:
    if as_json:
        values = [report.as_json() for report in reports]
        print(json.dumps(values if several else values[0], indent=2))
    else:
        print(in_a_line(facts()))


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
