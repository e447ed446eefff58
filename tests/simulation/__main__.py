"""``python -m tests.simulation [--seeds N] [--from SEED]``: run many seeds, show what is wrong.

    --show SEED      the steps of one seed, and what happened

Ends with status 1 if any seed breaks a promise.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.simulation.driver import simulate
from tests.simulation.steps import plan


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--show", type=int, default=None, metavar="SEED")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.show is not None:
        return _show(options.show)
    started, happenings, bad = time.perf_counter(), 0, 0
    for seed in range(options.first, options.first + options.seeds):
        history, wrong = simulate(seed)
        happenings += len(history)
        bad += bool(wrong)
        for text in wrong:
            print(f"seed {seed}: {text}", flush=True)
    elapsed = time.perf_counter() - started
    print(f"seeds={options.seeds} diverged={bad} happenings={happenings} seconds={elapsed:.0f}")
    return 1 if bad else 0


def _show(seed: int) -> int:
    for step in plan(seed):
        print(step)
    history, wrong = simulate(seed)
    for happening in history:
        print(happening)
    for text in wrong:
        print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
