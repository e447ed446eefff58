"""JSON lines over two file descriptors, every wait with a limit.

How a benchmark talks with its child processes. Small on purpose: what is measured goes over
other ways, and nothing is said here while it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import time
from typing import Any

from bench.report import BenchError

Message = dict[str, Any]

# No step of a benchmark takes longer than a few seconds; this is for a machine under load.
PATIENCE_S = 30.0


class Channel:
    """One end; it does not own the descriptors.

    Args:
        read_fd: Where lines come from.
        write_fd: Where they go to.
        patience_s: How long to wait for a line, if nothing else is said.
    """

    def __init__(self, read_fd: int, write_fd: int, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._buffer = b""

    def send(self, **message: Any) -> None:
        """Write one line.

        Raises:
            BenchError: Nobody is there to read it.
        """
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._write_fd, data) :]
        except BrokenPipeError:
            raise BenchError("the other process is gone") from None

    def has_news(self) -> bool:
        """Whether `receive` would not block."""
        return b"\n" in self._buffer or bool(select.select([self._read_fd], [], [], 0)[0])

    def receive(self, timeout: float | None = None) -> Message:
        """Block until a line is there.

        Raises:
            BenchError: None came in time, or none will come.
        """
        timeout = self.patience_s if timeout is None else timeout
        until = time.monotonic() + timeout
        while (message := self._take()) is None:
            wait = max(0.0, until - time.monotonic())
            if not select.select([self._read_fd], [], [], wait)[0]:
                raise BenchError(f"the other process said nothing for {timeout:.0f} s")
            self._fill()
        return message

    async def receive_async(self, timeout: float | None = None) -> Message:
        """The same for an event loop."""
        timeout = self.patience_s if timeout is None else timeout
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                while (message := self._take()) is None:
                    readable = asyncio.Event()
                    loop.add_reader(self._read_fd, readable.set)
                    try:
                        await readable.wait()
                    finally:
                        loop.remove_reader(self._read_fd)
                    self._fill()
        except TimeoutError:
            raise BenchError(f"the other process said nothing for {timeout:.0f} s") from None
        return message

    def _take(self) -> Message | None:
        line, found, rest = self._buffer.partition(b"\n")
        if not found:
            return None
        self._buffer = rest
        message: Message = json.loads(line)
        return message

    def _fill(self) -> None:
        data = os.read(self._read_fd, 65536)
        if not data:
            raise BenchError("the other process ended without a word")
        self._buffer += data
