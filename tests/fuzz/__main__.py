"""``python -m tests.fuzz [TARGET...] --runs N --seconds S``: fuzz, a process a target.

    --keep           afterwards keep the inputs that reach something new, at most so many a target
    --jobs N         targets at once

Findings are written to ``tests/fuzz/findings`` and replayed by the tests from then on. Ends with
status 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz import worker

KEPT = 32
"""Inputs of a target that are kept; the shortest ones."""

_SEED = "seed-"

RESTARTS = 4
"""Findings of one target after which its run ends early."""

_DONE = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_LAST = re.compile(r"^#(\d+)\s", re.MULTILINE)
_COVERED = re.compile(r"cov: (\d+)")


@dataclass
class Run:
    """What came of one target."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    findings: int = 0
    covered: int = 0

    def __str__(self) -> str:
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"{self.target:<16} inputs={self.inputs:<10} seconds={self.seconds:<6.0f} "
            f"per_second={rate:<8.0f} edges={self.covered:<6} findings={self.findings}"
        )


def main() -> int:
    options = _options()
    if options.worker:
        _work(options)
        return 0
    from tests.fuzz.catalogue import TARGETS

    names = options.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        print(f"no such targets: {' '.join(unknown)}; there are {' '.join(TARGETS)}")
        return 2
    print("coverage: " + ("atheris" if worker.HAS_ATHERIS else "none, atheris is not installed"))
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = []
        for done in as_completed([pool.submit(_fuzz, name, options) for name in names]):
            print(done.result(), flush=True)
            runs.append(done.result())
    total = Run("all", *(sum(getattr(run, f) for run in runs) for f in _SUMMED))
    print(total)
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")
    return 1 if total.findings else 0


_SUMMED = ("inputs", "seconds", "findings", "covered")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs of each target")
    parser.add_argument("--seconds", type=int, default=60, help="time for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once")
    parser.add_argument("--keep", action="store_true", help="renew the corpus")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--worker", choices=["fuzz"], help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _work(options: argparse.Namespace) -> None:
    (name,) = options.targets
    work: Path = options.work
    findings = Path(__file__).parent / "findings"
    worker.fuzz(name, options.runs, options.seconds, work, findings)


def _fuzz(name: str, options: argparse.Namespace) -> Run:
    """Fuzz one target, again after each finding, until its limits."""
    from tests.fuzz.catalogue import CORPUS, FINDINGS, TARGETS, kept

    run = Run(name)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        work.mkdir()
        for at, data in enumerate((*TARGETS[name].seeds(), *kept(CORPUS, name))):
            (work / f"{_SEED}{at:04}").write_bytes(data)
        before = len(kept(FINDINGS, name))
        for _ in range(RESTARTS):
            left = options.runs - run.inputs, round(options.seconds - run.seconds)
            if min(left) <= 0:
                break
            status = _one_process(run, work, *left)
            if status == 0:
                break
            if status != worker.FOUND:
                run.findings += 1
        run.findings += len(kept(FINDINGS, name)) - before
        if options.keep and worker.HAS_ATHERIS:
            _renew(name, work)
    return run


def _one_process(run: Run, work: Path, runs: int, seconds: int) -> int:
    """Add what one process does to `run`; its exit status."""
    command = [sys.executable, "-m", "tests.fuzz", run.target, "--worker=fuzz", f"--work={work}",
               f"--runs={runs}", f"--seconds={seconds}"]  # fmt: skip
    started = time.monotonic()
    log = work.parent / "log"
    with log.open("wb") as file:
        status = subprocess.run(
            command, stdout=file, stderr=file, timeout=seconds + 300, check=False
        ).returncode
    run.seconds += time.monotonic() - started
    said = log.read_text(errors="replace")
    found = _DONE.findall(said) or _LAST.findall(said) or ["0"]
    run.inputs += int(found[-1])
    run.covered = max(run.covered, *map(int, _COVERED.findall(said) or ["0"]), 0)
    if status:
        print(f"{run.target}: status {status}\n{said[-3000:]}", file=sys.stderr, flush=True)
    return status


def _renew(name: str, work: Path) -> None:
    """Replace a target's corpus by the shortest of the inputs that reached something new.

    libFuzzer adds those to the folder that it works in. Its own choice of the best of them
    (-merge) starts the program again by its path, which a module cannot be started by.
    """
    from tests.fuzz.catalogue import CORPUS

    new = [path.read_bytes() for path in work.iterdir() if not path.name.startswith(_SEED)]
    if not new:
        print(f"{name}: the corpus stays as it was: nothing new was reached", file=sys.stderr)
        return
    shutil.rmtree(CORPUS / name, ignore_errors=True)
    for data in sorted(set(new), key=lambda data: (len(data), data))[:KEPT]:
        worker.saved(name, data, CORPUS)


if __name__ == "__main__":
    sys.exit(main())
