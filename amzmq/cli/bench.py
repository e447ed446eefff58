"""The ``bench`` command: the benchmarks of the checkout that this command runs from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from amzmq.cli.outcome import fail

ROOT = Path(__file__).parents[2]


def bench(
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME [OPTIONS]", help="As of python -m bench; --json among them."),
    ] = None,
) -> None:
    """Measure amzmq on this machine, beside what it is compared with.

    The benchmarks are part of the repository, not of the package: without it there are none.

    Example: amzmq bench rtt --json
    """
    if not (ROOT / "bench" / "__main__.py").is_file():
        fail("the benchmarks are not installed; clone the repository, and run `make bench` there")
    os.chdir(ROOT)
    command = [sys.executable, "-m", "bench", *(options or ["--help"])]
    os.execv(sys.executable, command)  # nosec B606  # our own program, for who started us
