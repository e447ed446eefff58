"""A terminal of its own for a command, and what its user sees and types."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.command import AMZMQ, ENVIRONMENT, TIMEOUT


class Terminal:
    """What a user has in front of them: keys in, and what was printed so far."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def read_until(self, pattern: str) -> str:
        """Read on until this was printed, behind everything waited for before; what matched."""
        deadline = time.monotonic() + TIMEOUT
        while (found := re.search(pattern, self.shown)) is None:
            left = deadline - time.monotonic()
            assert select.select([self._fd], [], [], max(0.0, left))[0], self.shown
            self.shown += os.read(self._fd, 65536).decode(errors="replace")
        self.shown = self.shown[found.end() :]
        return found[0]


@contextmanager
def on_terminal(
    *args: str, **variables: str | None
) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """A command on a terminal of its own; a variable that is None is not set."""
    env = {**ENVIRONMENT, "TERM": "xterm", **variables}
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            (*AMZMQ, *args),
            env={name: value for name, value in env.items() if value is not None},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    try:
        with process:
            try:
                yield Terminal(ours), process
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(ours)
