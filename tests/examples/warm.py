"""Starting our programs without waiting for their imports: see `warm_server`.

A test that starts ten of them waits for ten times a second of CPU otherwise. What runs then is a
process like any other, with an id, a folder, an environment and streams of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast

ROOT = Path(__file__).parents[2]
START_S = 30.0
LINE_BYTES = 1024 * 1024


class Process(Protocol):
    """What a test needs of a process; `asyncio.subprocess.Process` has it."""

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def send_signal(self, signal: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class _Forked:
    """A process that the server forked into a program."""

    def __init__(self, pid: int, status: asyncio.StreamReader) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._ending = asyncio.create_task(self._end(status), name=f"process {pid}")

    async def _end(self, status: asyncio.StreamReader) -> int:
        self.returncode = int(await status.readline())
        await status.read()  # to the end, so that it is closed
        if self.stdin is not None:
            self.stdin.close()
            with contextlib.suppress(BrokenPipeError):
                await self.stdin.wait_closed()
        return self.returncode

    async def wait(self) -> int:
        return await asyncio.shield(self._ending)

    def send_signal(self, signal: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # its status is on the way
                os.kill(self.pid, signal)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class WarmPython:
    """Starts programs by a server that is ready; a context manager."""

    def __enter__(self) -> WarmPython:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [
                    *(sys.executable, "-W", "error"),
                    *(str(Path(__file__).with_name("warm_server.py")), str(theirs.fileno())),
                ],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
            )
        self._requests.settimeout(START_S)
        assert self._requests.recv(16) == b"ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        assert self._server.wait(START_S) == 0

    async def start(
        self, *args: str, cwd: Path | None, env: Mapping[str, str], limit: int
    ) -> Process:
        """Start ``python ARGS``."""
        request = {"args": args, "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        with contextlib.ExitStack() as stack:
            theirs_in, ours_in = _pipe(stack)
            ours_out, theirs_out = _pipe(stack)
            ours_err, theirs_err = _pipe(stack)
            ours_status, theirs_status = _pipe(stack)
            fds = [theirs_in, theirs_out, theirs_err, theirs_status]
            socket.send_fds(self._requests, [json.dumps(request).encode()], fds)
            ours = [os.dup(fd) for fd in (ours_in, ours_out, ours_err, ours_status)]
        status = await _reader(ours[3], limit)
        async with asyncio.timeout(START_S):
            process = _Forked(int(await status.readline()), status)
        process.stdin = await _writer(ours[0])
        process.stdout = await _reader(ours[1], limit)
        process.stderr = await _reader(ours[2], limit)
        return process


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe2(os.O_CLOEXEC)
    for fd in ends:
        stack.callback(os.close, fd)
    return ends


async def _reader(fd: int, limit: int) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb"))
    return reader


async def _writer(fd: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(fd, "wb")
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


_warm: list[WarmPython] = []


@contextlib.contextmanager
def warm() -> Iterator[None]:
    """While the block runs, `start` finds a server that is ready: one for all such blocks."""
    if _warm:
        yield
        return
    with WarmPython() as python:
        _warm.append(python)
        try:
            yield
        finally:
            _warm.remove(python)


async def start(
    *command: str | Path, cwd: Path | None, env: Mapping[str, str], limit: int = LINE_BYTES
) -> Process:
    """Start a command with pipes: by the server if it is a Python and one is ready."""
    first, *args = map(str, command)
    if _warm and first == sys.executable:
        return await _warm[-1].start(*args, cwd=cwd, env=env, limit=limit)
    process = await asyncio.create_subprocess_exec(
        *(first, *args),
        cwd=cwd,
        env=env,
        limit=limit,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return cast(Process, process)
