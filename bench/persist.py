"""What it costs a mutation to be kept in a file: `python -m bench.persist [--quick] [--json]`.

The folder is a new one where the system keeps temporary files; TMPDIR names another disk.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench import rtt
from bench.environment import facts, in_a_line
from bench.report import Figure, Ratio, Report, in_turn, summarize
from bench.rtt import Pair
from bench.workers import check_equal

NAME = "persist"
RUNS = 7
NO_FILE, DISK = "no file", "the disk alone"
POLICIES = ("", "never", "interval", "always")
SEQUENTIAL, PIPELINED = "one call after the other", "128 calls in flight"
P50, CALLS = ("p50", "us"), ("calls", "1/s")
BYTES, SHARED = ("bytes a mutation", "B"), ("mutations a write", "1")
WINDOW = 128
RECORD_BYTES = 30


@dataclass(frozen=True)
class Scale:
    """How much one run does; the calls in flight are multiples of the window."""

    calls: int
    warm_up: int
    in_flight: int
    syncs: int


FULL = Scale(calls=1_000, warm_up=128, in_flight=5_120, syncs=500)
QUICK = Scale(calls=20, warm_up=128, in_flight=128, syncs=5)


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure each policy in turn, and the disk alone."""
    scale = QUICK if quick else FULL
    with rtt.pair() as two:
        each = [partial(measure, fsync, scale, two) for fsync in POLICIES]
        samples = in_turn([*each, partial(disk_alone, scale)], runs)
    ratios = [
        Ratio(
            f"{name}/{NO_FILE}: {case}",
            Figure(name, case, *metric),
            Figure(NO_FILE, case, *metric),
        )
        for name in POLICIES[1:]
        for case, metric in ((SEQUENTIAL, P50), (PIPELINED, CALLS))
    ]
    return summarize(NAME, samples, ratios)


def measure(fsync: str, scale: Scale, two: Pair) -> Mapping[Figure, float]:
    """One run of one policy."""
    name = fsync or NO_FILE
    asking = {"calls": scale.calls, "warm_up": scale.warm_up}
    one, _ = _round(fsync, "client", asking, two)
    asking = {"calls": scale.in_flight, "warm_up": scale.warm_up, "window": WINDOW}
    many, kept = _round(fsync, "pipelined", asking, two)
    found = {
        Figure(name, SEQUENTIAL, *P50): one["p50_us"],
        Figure(name, PIPELINED, *CALLS): many["calls_per_s"],
    }
    if fsync:
        found[Figure(name, PIPELINED, *BYTES)] = kept["bytes"] / kept["requests"]
        found[Figure(name, PIPELINED, *SHARED)] = kept["requests"] / kept["commits"]
    return found


def _round(
    fsync: str, role: str, asking: Mapping[str, Any], two: Pair
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the client found, and what the source counted."""
    source, client = two
    source.send(role="bench.persist_amzmq:source", params={"fsync": fsync})
    client.send(role=f"bench.persist_amzmq:{role}", params=asking)
    client.send(**source.receive())
    found = client.receive()
    source.send(stop=True)
    counted = source.receive()
    check_equal(counted, found, 1)
    client.send(end=True)
    source.send(end=True)
    return found, counted


def disk_alone(scale: Scale) -> Mapping[Figure, float]:
    """What it takes to append so few bytes and to wait for the disk: nobody is quicker."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(b"begin")
        start = time.perf_counter()
        for _ in range(scale.syncs):
            file.write(bytes(RECORD_BYTES))
            os.fdatasync(file.fileno())
        seconds = time.perf_counter() - start
    return {Figure(DISK, "write and fdatasync", "mean", "us"): seconds / scale.syncs * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.persist", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shows that it works, not how fast")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=int, default=RUNS, help="medians of how many runs")
    args = parser.parse_args()
    report = run(args.runs, args.quick)
    if args.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print(report.as_table(), in_a_line(facts()), sep="\n\n")


if __name__ == "__main__":
    main()
