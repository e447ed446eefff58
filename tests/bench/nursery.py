"""Child processes that are forked from one which has imported everything already.

Most of what a small benchmark takes is Python starting and importing. So one process does that
once, before it has any thread or socket, and forks whenever a `Worker` is wanted. What the workers
do is the same; that they can be started the usual way as well, `test_workers.py` shows.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from bench.channel import Channel
from bench.child import PATIENCE_S, play_role

ROLES = (
    "bench.burst_amzmq",
    "bench.bytes_amzmq",
    "bench.fanout_raw",
    "bench.idle_amzmq",
    "bench.relay_amzmq",
    "bench.relay_raw",
    "bench.rtt_amzmq",
    "bench.rtt_raw",
)
# Above all descriptors that a worker may want under their own numbers.
HIGH = 500
ANSWER_S = 30.0


class Nursery:
    """The process that forks; started with the first worker, ended by `close`."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.nursery", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
            )
        self._ours.settimeout(ANSWER_S)
        assert self._ours.recv(1) == b"."

    def child(self, args: Sequence[str], *, pass_fds: tuple[int, ...] = (), **_: Any) -> Child:
        """Fork one; as `subprocess.Popen`, for `python -m bench.child ROLE PARAMS`."""
        return Child(self._ours, args[-2:], pass_fds)

    def close(self) -> None:
        """End it; it goes when nobody can ask any more."""
        self._ours.close()
        self._process.wait(ANSWER_S)


class Child:
    """What of `subprocess.Popen` a `Worker` uses."""

    def __init__(
        self, nursery: socket.socket, args: Sequence[str], pass_fds: tuple[int, ...]
    ) -> None:
        child_in, parent_in = os.pipe()
        parent_out, child_out = os.pipe()
        self._ended, tell = os.pipe()
        request = json.dumps({"args": list(args), "numbers": pass_fds}).encode()
        fds = [child_in, child_out, tell, *pass_fds]
        socket.send_fds(nursery, [len(request).to_bytes(4, "big") + request], fds)
        for fd in (child_in, child_out, tell):
            os.close(fd)
        self.stdin = os.fdopen(parent_in, "wb", buffering=0)
        self.stdout = os.fdopen(parent_out, "rb", buffering=0)
        self.pid = int.from_bytes(nursery.recv(4), "big")
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked worker", timeout or 0.0)
            self.returncode = int(os.read(self._ended, 16))
            os.close(self._ended)
        return self.returncode

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has ended, and the word of that is on its way
            os.kill(self.pid, number)


def main() -> None:
    """Fork whenever somebody asks, and tell how each one ended."""
    asking = socket.socket(fileno=int(sys.argv[1]))
    for role in ROLES:
        __import__(role)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    asking.sendall(b".")
    living: dict[int, int] = {}
    while True:
        readable, _, _ = select.select([asking.fileno(), wake], [], [])
        if wake in readable:
            os.read(wake, 4096)
            _bury(living)
        if asking.fileno() in readable and not _serve(asking, living):
            return


def _bury(living: dict[int, int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        tell = living.pop(pid)
        os.write(tell, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(tell)


def _serve(asking: socket.socket, living: dict[int, int]) -> bool:
    head, fds, _, _ = socket.recv_fds(asking, 4, 64)
    if not head:
        return False
    request = json.loads(asking.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
    pid = os.fork()
    if not pid:
        _live(request["args"], fds, request["numbers"])
    child_in, child_out, tell, *rest = fds
    for fd in (child_in, child_out, *rest):
        os.close(fd)
    living[pid] = tell
    asking.sendall(pid.to_bytes(4, "big"))
    return True


def _live(args: Sequence[str], fds: Sequence[int], numbers: Sequence[int]) -> None:
    """The child: nothing is left open but what it was given, under the numbers that it expects."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.dup2(2, 1)  # what somebody prints is no answer
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH) for fd in fds]
        os.closerange(3, HIGH)
        child_in, child_out, tell, *rest = high
        os.close(tell)
        for fd, number in zip(rest, numbers, strict=True):
            os.dup2(fd, number)
            os.close(fd)
        channel = Channel(child_in, child_out, PATIENCE_S)
        role, params = args
        try:
            play_role(role, channel, json.loads(params))
            status = 0
        except Exception:
            channel.send(error=traceback.format_exc())
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
