"""What the lab's programs have in common: history on disk, leftovers, sockets."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import threading
import time
from pathlib import Path
from typing import Any

from amzmq.machine import Schema, State
from amzmq.net import SocketOptions, ZmqTransport
from amzmq.net.authenticator import AnyKey
from amzmq.net.keys import Keys
from tests.oracles.history import Happening, to_row

SCHEMA: Schema = {
    "A": State(),
    "B": State(),
    "Both": State(auto=True, require=["A", "B"]),
    "C": State(remove=["A"]),
    "Multi": State(multi=True),
}


GRACE_S = 1.0
"""What is on its way out may take so long."""


class Diary:
    """Writes a history to a file, line by line: whoever is killed has written what it did."""

    def __init__(self, path: str) -> None:
        self._file = self._opened(path)

    @staticmethod
    def _opened(path: str) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def turn(self, path: str) -> None:
        """Go on in another file."""
        os.close(self._file)
        self._file = self._opened(path)

    def note(self, happening: Happening) -> None:
        """Write one happening with its time."""
        line = json.dumps([time.monotonic_ns(), to_row(happening)])
        os.write(self._file, line.encode() + b"\n")

    def close(self) -> None:
        """End it."""
        os.close(self._file)


def transport(options: dict[str, Any], role: str) -> ZmqTransport:
    """Sockets as the lab wants them, quick to notice and to come back."""
    quick: dict[str, Any] = {
        "reconnect_ms": 10,
        "reconnect_max_ms": 100,
        "handshake_ms": 1000,
    }
    sockets = SocketOptions(**(quick | options.get("sockets", {})))
    keys = options.get("keys")
    if not keys:
        return ZmqTransport(sockets)
    own = Keys.load(Path(keys) / f"{role}.key")
    if role == "source":
        return ZmqTransport(sockets, curve=own, authenticator=AnyKey())
    return ZmqTransport(sockets, curve=own, server_key=Path(keys) / "source.pub")


def descriptors() -> int:
    """How many are open."""
    return len(os.listdir("/proc/self/fd"))


async def leftovers(fds: int) -> list[str]:
    """What is still there at the end of a program that had `fds` at its beginning."""
    deadline = time.monotonic() + GRACE_S
    while (left := _open(fds)) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return left


def _open(fds: int) -> list[str]:
    left = [f"task {task.get_name()}" for task in asyncio.all_tasks()]
    left.remove(f"task {asyncio.current_task().get_name()}")  # type: ignore[union-attr]
    left += [f"thread {one.name}" for one in threading.enumerate() if one.name != "MainThread"]
    if (more := descriptors() - fds) > 0:
        left.append(f"{more} file descriptors")
    return left


def give_back() -> bool:
    """Give the system what malloc keeps of its peaks; whether there was any."""
    return bool(ctypes.CDLL(None).malloc_trim(0))


def limit_descriptors(spare: int | None) -> int:
    """Let the process open only so many more, or as many as ever; how many it has."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = most
    if spare is not None:
        # A descriptor's number counts, so the highest that is open decides.
        soft = max(int(name) for name in os.listdir("/proc/self/fd")) + 1 + spare
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    return descriptors()


def limit_memory(spare_mb: int | None) -> int:
    """Let the process use only so much more address space, or as much as ever; MB in use."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft = resource.RLIM_INFINITY if spare_mb is None else used + spare_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))
    return used // 2**20
