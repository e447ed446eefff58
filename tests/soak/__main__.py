"""``python -m tests.soak [--minutes M] [--seed N]``: faults at random, for as long as you like.

Prints a line at least once a minute. Ends with status 1 if a promise was broken, something was
left behind, or memory or descriptors grew. With `--save` the summary goes to docs/reliability.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import results
from tests.soak.gauge import MB
from tests.soak.lab import SoakLab
from tests.soak.pace import BRISK, GENTLE, Pace
from tests.soak.run import Record, Soak
from tests.soak.verdict import as_json, judge

LINE_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=60.0, metavar="M")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--brisk", action="store_true", help="much at a time: for short runs")
    parser.add_argument("--save", action="store_true", help="keep the result, and write the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    pace = BRISK if options.brisk else GENTLE
    record = asyncio.run(soak(options.minutes * 60, options.seed, pace, options.json))
    if options.save:
        results.save("soak", as_json(record))
        results.write_page()
    flaws = judge(record).flaws
    for flaw in flaws:
        print(f"BAD  {flaw[:400]}", flush=True)
    print(f"soak={'bad' if flaws else 'good'} rounds={record.rounds} broken={record.broken}")
    return 1 if flaws else 0


async def soak(seconds: float, seed: int, pace: Pace, path: Path | None = None) -> Record:
    """Run one; what is known so far is written to `path` once a minute."""
    record = Record(seconds, seed)
    told_at = -LINE_S

    def tell(record: Record) -> None:
        nonlocal told_at
        is_over = record.elapsed_s >= seconds
        if not is_over and time.monotonic() - told_at < LINE_S - pace.round_s / 2:
            return
        told_at = time.monotonic()
        print(_line(record), flush=True)
        if path is not None:
            path.write_text(json.dumps(as_json(record), indent=1) + "\n")

    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        async with SoakLab(Path(folder), pace, seed) as lab:
            await Soak(lab, record, pace, tell).run()
    return record


def _line(record: Record) -> str:
    source, relay = record.source[-1:], record.relay[-1:]
    held = " ".join(
        f"{name} {sample.rss / MB:.1f} + {sample.kept / MB:.1f} MiB {sample.fds} fds"
        for name, samples in (("source", source), ("relay", relay))
        for sample in samples
    )
    share = record.cpu_s / max(record.elapsed_s, 1)
    return (
        f"{record.elapsed_s / 60:5.1f} min  {record.rounds} rounds  "
        f"{record.faults.total()} faults  {record.guests} guests  "
        f"{record.blobs['whole']} of {record.blobs.total()} blobs  "
        f"{record.happenings:,} happenings  {record.broken} broken  {held}  {share:.0%} CPU"
    )


if __name__ == "__main__":
    sys.exit(main())
