"""Mistakes outside of functions: pytest is started anew, and imports the module with the mistake.

As a plugin (``-p tests.mutation.fresh``) this makes the mistake that the environment names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from tests.mutation.modules import ROOT
from tests.mutation.operators import Mutant, mutated

VARIABLE = "AMZMQ_MUTANT"
LIMIT_S = 300.0

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def killer(mutant: Mutant, arguments: list[str]) -> str:
    """The first test that sees the mistake; "" if none does."""
    told = json.dumps({**asdict(mutant), "path": str(mutant.path)})
    first = [str(test) for test in ROOT.glob(f"tests/**/test_{mutant.path.stem}.py")]
    options = ["-p", "tests.mutation.fresh", "-x", "-q", *first]
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, VARIABLE: told},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it took too long"
    if done.returncode == 0:
        return ""
    failed = _FAILED.search(done.stdout)
    return failed[1] if failed else f"pytest ended with status {done.returncode}"


def _install(mutant: Mutant) -> None:
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if self.get_filename(fullname) == str(mutant.path):
            return compile(mutated(mutant), str(mutant.path), "exec", dont_inherit=True)
        return original(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


if VARIABLE in os.environ:
    _told = json.loads(os.environ.pop(VARIABLE))
    _install(Mutant(**{**_told, "path": Path(_told["path"])}))
