"""Child processes of a benchmark: started, spoken to, and ended whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.channel import PATIENCE_S, Channel, Message
from bench.report import BenchError

ROOT = Path(__file__).parent.parent

# How long a child may take to leave by itself, then to obey SIGTERM.
EXIT_S = 10.0
TERMINATE_S = 2.0

# What starts a child; small benchmarks fork them from a process that has imported all already.
spawn: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen


class Worker:
    """A Python process that plays one role, a function of `Channel` and `params`.

    Not multiprocessing, because that leaves a process of its own behind until we exit.

    Args:
        role: The function as `module:name`; `async def` is fine.
        pass_fds: Descriptors it inherits, under the same numbers.
        params: Its keyword arguments, plain values.
    """

    def __init__(self, role: str, *, pass_fds: tuple[int, ...] = (), **params: Any) -> None:
        self.role = role
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = spawn(
            [sys.executable, "-m", "bench.child", role, json.dumps(params)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._channel = Channel(self._stdout.fileno(), self._stdin.fileno())

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, **message: Any) -> None:
        """Tell the role something."""
        try:
            self._channel.send(**message)
        except BenchError as err:
            raise BenchError(f"{self.role}: {err}") from None

    def complaint(self, timeout: float = EXIT_S) -> str:
        """Why the role failed; empty if it did not, or not in time."""
        try:
            self.receive(timeout)
        except BenchError as err:
            return str(err)
        return ""

    def receive(self, timeout: float = PATIENCE_S) -> Message:
        """Wait for what the role says.

        Raises:
            BenchError: It failed, left, or said nothing in time.
        """
        try:
            message = self._channel.receive(timeout)
        except BenchError as err:
            raise BenchError(f"{self.role}: {err}") from None
        if "error" in message:
            raise BenchError(f"{self.role} failed:\n{message['error']}")
        return message

    def finish(self) -> None:
        """Let the role come to its end, and expect a good one."""
        self.send(end=True)
        try:
            status = self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.role}: did not end within {EXIT_S:.0f} s") from None
        if status:
            # It may have said why, behind all that was asked of it.
            reason = self.complaint()
            raise BenchError(f"{self.role}: ended with status {status}; {reason}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process if it still runs."""
        self._stdin.close()
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(TERMINATE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._stdout.close()


def check_equal(source: Message, followers: Message, count: int) -> None:
    """Compare the states both sides ended with.

    Args:
        source: Its `state`.
        followers: Their `states`, one each.
        count: How many followers there have to be.

    Raises:
        BenchError: A follower is missing or differs.
    """
    states = followers["states"]
    different = [state for state in states if state != source["state"]]
    if len(states) != count or different:
        shown = f"; source {source['state']}, first other {different[0]}" if different else ""
        raise BenchError(
            f"{len(different)} of {count} replicas differ from the source, "
            f"{count - len(states)} are missing{shown}"
        )
