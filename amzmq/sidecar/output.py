"""What an application prints: cut into lines, and written on without holding up the daemon."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("amzmq.sidecar.output")

_CHUNK = 64 * 1024

_ATOMIC = 4096
"""Bytes that a pipe which is writable takes without blocking (PIPE_BUF of Linux)."""

_HIGH = 1024 * 1024
_LOW = 256 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    r"""A line, or a part of one that is too long.

    Attributes:
        text: Without the line's end; bytes that are not UTF-8 as ``\xff``.
        is_whole: Whether the line ends here; the last part of a long line is whole.
    """

    text: str
    is_whole: bool


class LineSplitter:
    """Cuts bytes into lines.

    Args:
        limit: Bytes of a line; a longer one comes in parts of this size.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[Line]:
        """The lines, and the parts of one, that are complete with this data."""
        lines = []
        *complete, rest = (self._rest + data).split(b"\n")
        for line in complete:
            parts, last = self._cut(line)
            lines += [*parts, Line(_text(last.removesuffix(b"\r")), True)]
        parts, self._rest = self._cut(rest)
        return [*lines, *parts]

    def _cut(self, line: bytes) -> tuple[list[Line], bytes]:
        """The parts that are too long to stand with what follows, and what follows."""
        parts = []
        at = 0
        while len(line) - at > self._limit:
            end = at + self._limit
            # Not within a character; where there is none, anywhere.
            while end > at + self._limit - 4 and line[end] & 0xC0 == 0x80:
                end -= 1
            end = end if end > at else at + self._limit
            parts.append(Line(_text(line[at:end]), False))
            at = end
        return parts, line[at:]

    def end(self) -> list[Line]:
        """The last line, if it has no end."""
        rest, self._rest = self._rest, b""
        return [Line(_text(rest), True)] if rest else []


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="backslashreplace")


class Tap:
    """Reads a descriptor to its end; owns it.

    Args:
        descriptor: What to read.
        take: Called with each piece.

    Attributes:
        ended: Done at the end of the data, or when it is closed.
        taken: Bytes read so far.
    """

    def __init__(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._take = take
        self._reading = False
        self.taken = 0
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self.resume()

    @property
    def is_paused(self) -> bool:
        """Whether it does not read at present, and has not ended."""
        return not self._reading and not self.ended.done()

    def pause(self) -> None:
        """Read no more for now: whoever prints has to wait."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._descriptor)

    def resume(self) -> None:
        """Read on."""
        if not self._reading and not self.ended.done():
            self._reading = True
            self._loop.add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            _log.warning("reading output failed: %s", error)
            data = b""
        if data:
            self.taken += len(data)
            self._take(data)
        else:
            self.close()

    def close(self) -> None:
        """Stop reading and close the descriptor."""
        self.pause()
        if not self.ended.done():
            os.close(self._descriptor)
            self.ended.set_result(None)


class Outlet:
    """Writes to a descriptor of the daemon's whenever that takes something.

    Those who fill it are paused while its reader is slow, as they would be without a daemon
    between them.

    Args:
        descriptor: Where to write; it stays open.

    Attributes:
        lost: Bytes that nobody took.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._taps: set[Tap] = set()
        self._writing = False
        self._is_broken = False
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.lost = 0

    def join(self, tap: Tap) -> None:
        """Pause this one too when there is too much; until it has ended."""
        self._taps.add(tap)
        tap.ended.add_done_callback(lambda _: self._taps.discard(tap))

    def write(self, data: bytes) -> None:
        """Write as soon as possible."""
        if self._is_broken:
            self.lost += len(data)
            return
        self._waiting += data
        self._emptied.clear()
        if len(self._waiting) > _HIGH:
            for tap in self._taps:
                tap.pause()
        if not self._writing:
            self._begin()

    def _begin(self) -> None:
        try:
            asyncio.get_running_loop().add_writer(self._descriptor, self._drain)
            self._writing = True
        except PermissionError:  # a regular file: it cannot be waited for, and never blocks
            while self._waiting:
                self._drain()
        except OSError as error:
            self._break(error)

    def _drain(self) -> None:
        try:
            count = os.write(self._descriptor, self._waiting[:_ATOMIC])
        except BlockingIOError:
            return
        except OSError as error:
            self._break(error)
            return
        del self._waiting[:count]
        if len(self._waiting) < _LOW:
            for tap in list(self._taps):
                tap.resume()
        if not self._waiting:
            self.close()

    def _break(self, error: OSError) -> None:
        """Its reader went away: the application's output is still read and told."""
        _log.warning("output is not passed on any more: %s", error)
        self._is_broken = True
        self.lost += len(self._waiting)
        self._waiting.clear()
        for tap in list(self._taps):
            tap.resume()
        self.close()

    async def flush(self, seconds: float) -> None:
        """Wait until all is written, at most so long; what is left then is lost, and told."""
        try:
            async with asyncio.timeout(seconds):
                await self._emptied.wait()
        except TimeoutError:
            self._break(OSError(f"nobody reads it, {len(self._waiting)} bytes are lost"))

    def close(self) -> None:
        """Stop writing; the descriptor stays open."""
        if self._writing:
            self._writing = False
            asyncio.get_running_loop().remove_writer(self._descriptor)
        if not self._waiting:
            self._emptied.set()
