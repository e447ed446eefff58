"""Running the command: in a process of its own as its users do, or in this one: quicker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from amzmq.cli.app import app

ROOT = Path(__file__).parents[2]
AMZMQ = (sys.executable, "-m", "amzmq")
# The checkout, whatever folder the command runs in; and no colours, whatever the terminal.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}
TIMEOUT = 50.0


def amzmq(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        (*AMZMQ, *args),
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def invoke(*args: str, **variables: str) -> Done:
    """Run a command to its end in this process."""
    env = {"COLUMNS": "200", "NO_COLOR": "1", **variables}
    result = CliRunner().invoke(app, args, env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


@contextmanager
def running(
    *args: str,
    cwd: Path | None = None,
    own_group: bool = False,
    program: Sequence[str] = AMZMQ,
    **variables: str,
) -> Iterator[subprocess.Popen[str]]:
    """Run a command, or another program, beside the test; it is killed and reaped at the end."""
    process = subprocess.Popen(
        (*program, *args),
        cwd=cwd,
        env={**ENVIRONMENT, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0 if own_group else None,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """End it as Ctrl-C does; its outputs."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=TIMEOUT)


def one_line(text: str) -> str:
    """The text, which has to be one line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text.rstrip("\n")
