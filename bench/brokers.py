"""Servers that some peers need between their processes: started for a run, ended behind it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.channel import PATIENCE_S
from bench.report import BenchError

END_S = 5.0


class Broker(NamedTuple):
    """A server that runs.

    Attributes:
        addr: Where clients connect to.
        pid: Of its process.
    """

    addr: str
    pid: int


@contextmanager
def redis() -> Iterator[Broker]:
    """A redis-server that keeps nothing."""
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", f"{port}"]
    # A thousand slow subscribers may lag by a whole burst; being cut off is no figure.
    command += ["--save", "", "--appendonly", "no", "--client-output-buffer-limit", "pubsub 0 0 0"]
    with running(command, "Ready to accept connections") as pid:
        yield Broker(f"redis://127.0.0.1:{port}", pid)


@contextmanager
def nats() -> Iterator[Broker]:
    """A nats-server."""
    port = free_port()
    command = ["nats-server", "--addr", "127.0.0.1", "--port", f"{port}"]
    with running(command, "Server is ready") as pid:
        yield Broker(f"nats://127.0.0.1:{port}", pid)


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of another process, finer than the kernel's ticks of 10 ms."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def free_port() -> int:
    """A port that was free just now: these servers cannot tell which one they took."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], ready: str) -> Iterator[int]:
    """Run a program from the time it says `ready` to the end of the block; gives its pid.

    Raises:
        BenchError: It ends, or is not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the whole group; we end it in good order.
            process_group=0,
        )
        assert process.stdout is not None
        try:
            _wait_for(process.stdout.fileno(), ready, command[0])
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _wait_for(fd: int, ready: str, program: str) -> None:
    said, until = b"", time.monotonic() + PATIENCE_S
    while ready.encode() not in said:
        if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
            raise BenchError(f"{program} was not ready within {PATIENCE_S:.0f} s: {said.decode()}")
        data = os.read(fd, 65536)
        if not data:
            raise BenchError(f"{program} ended: {said.decode()}")
        said += data
