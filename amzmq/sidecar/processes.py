"""Processes that the daemon started, and those that were left to it.

Statuses are collected by SIGCHLD, so that no thread waits for a process. Only what the daemon
started, and orphans of other sessions, are reaped: what Python code of an attached machine
started is that code's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import subprocess  # nosec B404  # starting a command is what it is for
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_log = logging.getLogger("amzmq.sidecar.process")

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_PROC = Path("/proc")

KILLED_WAIT = 1.0
"""Seconds that the system may take to end what was killed."""

NOT_FOUND = 127
NOT_EXECUTABLE = 126


def adopt_orphans() -> None:
    """Have descendants whose parents died left to this process, as to pid 1 (Linux only)."""
    if os.getpid() == 1:
        return
    prctl = _prctl()
    if prctl is None or prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        _log.info("this system does not leave orphans to the sidecar; they go to its init")


def _prctl() -> Callable[[int, int, int, int, int], int] | None:
    """The system's call, where there is one."""
    return getattr(ctypes.CDLL(None), "prctl", None)


def _ending_with_us(number: int) -> Callable[[], None] | None:
    """What a process does before it becomes the command: it gets a signal when the daemon dies.

    Else a daemon that is killed, and started again, would have its application twice (Linux only).
    """
    prctl, daemon = _prctl(), os.getpid()
    if prctl is None:
        return None

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != daemon:  # it died before it could be asked
            os.kill(os.getpid(), number)

    return ask


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a process.

    Attributes:
        command: Program and arguments.
        cwd: Its folder; the current one if empty.
        env: All of its environment.
        inherit_stdin: Whether it reads what the daemon would; else nothing.
        stop_signal: What it gets when the daemon dies without having ended it.
    """

    command: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    inherit_stdin: bool
    stop_signal: int


class Child:
    """A process in a session of its own.

    Attributes:
        pid: Its id, and that of its process group and session.
        stdout, stderr: Descriptors of what it prints; whoever reads them closes them.
        ended: Ends with its status, as a shell counts: 128 and the signal that killed it.
    """

    def __init__(self, launch: Launch) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # Descriptors of our own: Popen's would be buffered files.
        self.stdout, write_out = os.pipe()
        self.stderr, write_err = os.pipe()
        try:
            self._process = subprocess.Popen(  # nosec B603  # of the operator, and without a shell
                launch.command,
                cwd=launch.cwd or None,
                env=dict(launch.env),
                stdin=None if launch.inherit_stdin else subprocess.DEVNULL,
                stdout=write_out,
                stderr=write_err,
                start_new_session=True,
                preexec_fn=_ending_with_us(launch.stop_signal),
            )
        except BaseException:
            os.close(self.stdout)
            os.close(self.stderr)
            raise
        finally:
            os.close(write_out)
            os.close(write_err)
        self.pid = self._process.pid

    def collect(self) -> bool:
        """Whether it has ended; its status is taken then."""
        if self.ended.done():
            return True
        code = self._process.poll()
        if code is None:
            return False
        self.ended.set_result(code if code >= 0 else 128 - code)
        return True

    async def has_ended(self) -> None:
        """Wait for its end; giving up waiting changes nothing."""
        await asyncio.wait([self.ended])

    def signal(self, number: int) -> None:
        """Send a signal to its process group."""
        # Until its status is taken its id, and so the group's, cannot be anybody else's.
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Children:
    """All processes of the daemon; a context manager on the main thread.

    Attributes:
        orphans_reaped: How many processes were left to the daemon and have ended.
    """

    def __init__(self) -> None:
        self.orphans_reaped = 0
        self._running: set[Child] = set()

    def __enter__(self) -> Children:
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._sweep)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def start(self, launch: Launch) -> Child:
        """Start a process.

        Raises:
            OSError: It cannot be started.
        """
        child = Child(launch)
        self._running.add(child)
        return child

    def _sweep(self) -> None:
        # One signal may stand for several processes.
        for child in [child for child in self._running if child.collect()]:
            self._running.discard(child)
        started = {child.pid for child in self._running}
        session = os.getsid(0)
        for pid in _children_of_this_process() - started:
            stat = _Stat.of(pid)
            if stat is not None and stat.is_zombie and stat.session != session:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                    self.orphans_reaped += 1
                    _log.debug("reaped %d, which was left to the sidecar", pid)


async def end(child: Child, number: int, grace: float) -> None:
    """Ask a process and its group to end, and kill them if they do not within the grace."""
    child.signal(number)
    child.signal(signal.SIGCONT)  # who is stopped hears of nothing before
    if await _ended_within(child, grace):
        return
    _log.warning("process %d did not end within %g s: it is killed", child.pid, grace)
    await kill(child)


async def kill(child: Child) -> None:
    """End a process and its group at once, if it has not ended."""
    child.signal(signal.SIGKILL)
    await child.has_ended()


async def _ended_within(child: Child, seconds: float) -> bool:
    await asyncio.wait([child.ended], timeout=seconds)
    return child.ended.done()


async def end_leftovers(session: int, mark: str, number: int, grace: float) -> int:
    """End what a process left behind: its session, and what inherited its mark.

    Args:
        session: Id of the process, which has ended.
        mark: ``NAME=VALUE`` of its environment that no other process has.
        number: The signal that asks them to end.
        grace: Seconds they may take.

    Returns:
        How many there were.
    """
    found = _leftovers(session, mark)
    count = len(found)
    for number_now, seconds in ((number, grace), (signal.SIGKILL, KILLED_WAIT)):
        if found:
            names = " ".join(map(str, found))
            _log.info("left behind is %s: %s", names, signal.Signals(number_now).name)
            _send(found, number_now)
            _send(found, signal.SIGCONT)
            await _gone(found, seconds)
            found = _leftovers(session, mark)
    if found:
        _log.error("still left behind: %s", " ".join(map(str, found)))
    return count


def _send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


async def _gone(pids: Iterable[int], seconds: float) -> None:
    """Wait until the processes have ended, whoever's children they are."""
    loop = asyncio.get_running_loop()
    waiting: dict[int, asyncio.Future[None]] = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            ended = waiting[descriptor] = loop.create_future()
            loop.add_reader(descriptor, _set, ended)
    try:
        if waiting:
            await asyncio.wait(waiting.values(), timeout=seconds)
    finally:
        for descriptor in waiting:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


# /proc. Where it is missing there are no orphans, and leftovers are not found.


@dataclass(frozen=True, slots=True)
class _Stat:
    is_zombie: bool
    session: int

    @classmethod
    def of(cls, pid: int) -> _Stat | None:
        try:
            text = (_PROC / str(pid) / "stat").read_text()
        except OSError:
            return None  # it has gone
        # The name in brackets may hold anything; behind it: state, parent, group, session.
        values = text.rpartition(")")[2].split()
        return cls(values[0] in "ZX", int(values[3]))


def _children_of_this_process() -> set[int]:
    pids: set[int] = set()
    for listing in _PROC.glob("self/task/*/children"):
        with contextlib.suppress(OSError):
            pids |= set(map(int, listing.read_text().split()))
    return pids


def _leftovers(session: int, mark: str) -> list[int]:
    wanted = mark.encode()
    found = []
    for folder in _PROC.glob("[0-9]*"):
        pid = int(folder.name)
        stat = _Stat.of(pid)
        if stat is None or stat.is_zombie or pid == os.getpid():
            continue
        if stat.session == session or wanted in _environment(folder):
            found.append(pid)
    return found


def _environment(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # somebody else's, or gone
