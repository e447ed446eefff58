"""One process that fuzzes one target, with coverage by atheris where that is installed."""

from __future__ import annotations

import hashlib
import importlib.util
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.target import Play, Target

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
FOUND = 77
"""The exit status after a finding; libFuzzer's own."""

_Random = random.Random
_OURS = 0.5
"""How many of the inputs are changed by `mutating` instead of by libFuzzer."""


def saved(name: str, data: bytes, folder: Path) -> Path:
    """Keep an input in a target's folder, under a name that comes of its content."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    path = place / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


class _Once:
    """Plays inputs, and keeps the first that is a finding.

    Args:
        target: Whose inputs they are.
        play: Takes them.
        findings: Where it is kept.
    """

    def __init__(self, target: Target, play: Play, findings: Path) -> None:
        self._target = target
        self._play = play
        self._findings = findings

    def __call__(self, data: bytes) -> None:
        try:
            self._play(data)
        except Exception as error:
            story = self._shortest(data, error)
            print(f"finding: {saved(self._target.name, story, self._findings)}", file=sys.stderr)
            raise

    def _shortest(self, data: bytes, error: Exception) -> bytes:
        """The input alone, if it does it by itself; else all since the world began."""
        try:
            self._play(data)
        except Exception:
            return data
        return getattr(error, "story", data)


def fuzz(name: str, runs: int, seconds: int, work: Path, findings: Path) -> None:
    """Fuzz a target until one of the limits; `work` holds the inputs to begin with.

    Does not return with atheris: libFuzzer ends the process.
    """
    if not HAS_ATHERIS:
        _without_coverage(name, runs, seconds, work, findings)
        return
    options = [f"-runs={runs}", f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=1500",
               "-print_final_stats=1", f"-artifact_prefix={work.parent}/", str(work)]  # fmt: skip
    _libfuzzer(name, options, findings)


def _libfuzzer(name: str, options: list[str], findings: Path) -> None:
    import atheris  # type: ignore[import-untyped, unused-ignore]

    with atheris.instrument_imports(include=["amzmq", "tomllib"]):
        from tests.fuzz.catalogue import TARGETS
        from tests.fuzz.mutating import changed
        from tests.fuzz.target import watched_log

    target = TARGETS[name]

    def custom(data: bytes, size: int, seed: int) -> bytes:
        rng = _Random(seed)
        if rng.random() > _OURS:
            other: bytes = atheris.Mutate(data, size)
            return other
        return changed(data, rng, target.is_packed, target.prefix)[:size]

    with watched_log() as traces:
        once = _Once(target, target.make(traces), findings)
        argv = [sys.argv[0], f"-max_len={target.max_size}", *options]
        atheris.Setup(argv, once, custom_mutator=custom)
        atheris.Fuzz()


def _without_coverage(name: str, runs: int, seconds: int, work: Path, findings: Path) -> None:
    from tests.fuzz.catalogue import TARGETS
    from tests.fuzz.mutating import changed
    from tests.fuzz.target import watched_log

    target, rng, started, done = TARGETS[name], _Random(), time.monotonic(), 0
    pool = [path.read_bytes() for path in sorted(work.iterdir())]
    with watched_log() as traces:
        once = _Once(target, target.make(traces), findings)
        while done < runs and time.monotonic() - started < seconds:
            data = changed(rng.choice(pool), rng, target.is_packed, target.prefix)
            try:
                once(data[: target.max_size])
            except Exception:
                sys.exit(FOUND)
            done += 1
    print(f"stat::number_of_executed_units: {done}", file=sys.stderr)
