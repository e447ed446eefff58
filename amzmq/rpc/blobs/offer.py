"""Blobs at the client, for whoever reads them."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from amzmq.errors import RpcError
from amzmq.rpc.backlog import Backlog
from amzmq.wire.blobs import BlobReader

_log = logging.getLogger("amzmq.client")

ITERATOR_LIMIT = 1024
"""Blobs that one iteration may be behind; nothing of them has been fetched by then."""

ProgressFn: TypeAlias = Callable[[int, int], None]
"""Called with the bytes written so far, and all of them."""


class Blob:
    """A blob that was offered. Nothing of it is fetched before somebody reads.

    It is read once, by one of ``async for chunk in blob``, `read` and `save`; an iteration may
    be broken off and taken up again.

    Attributes:
        name: Which kind of payload.
        size: Bytes.
        token: Unique to it.
        source: Id of the machine that sent it; "" if not told.
        reader: What of it has arrived, and what was asked for.
        begun: Whether somebody reads it, or has.
    """

    def __init__(
        self, name: str, reader: BlobReader, source: str, want: Callable[[Blob], None]
    ) -> None:
        self.name = name
        self.size = reader.offer.size
        self.token = reader.token
        self.source = source
        self.reader = reader
        self.begun = False
        self._want = want
        self._chunks: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._error: Exception | None = None
        self._busy = False

    def __repr__(self) -> str:
        return f"<Blob {self.name} {self.progress}/{self.size}>"

    @property
    def progress(self) -> int:
        """Bytes that have arrived."""
        return self.reader.offset

    def __aiter__(self) -> Blob:
        return self

    async def __anext__(self) -> bytes:
        if self._busy:
            raise RpcError(f"blob {self.name!r} is being read already; only one may")
        self._busy = True
        try:
            self._want(self)
            while not self._chunks:
                if self._error is not None:
                    raise self._error
                if self.reader.complete:
                    raise StopAsyncIteration
                self._arrived.clear()
                await self._arrived.wait()
            chunk = self._chunks.popleft()
            self.reader.took(len(chunk))
            self._want(self)
            return chunk
        finally:
            self._busy = False

    async def read(self) -> bytes:
        """All of it; for one that fits into memory.

        Raises:
            NotConnected: The client stopped, or gave up its source.
            Refused: The source offers it no longer.
            CallTimeout: Nothing came for too long.
            BlobDamaged: What came is not what was offered.
        """
        self._check_unread()
        return b"".join([chunk async for chunk in self])

    async def save(self, path: Path | str, progress: ProgressFn | None = None) -> None:
        """Write all of it to a file, which is there once it is complete, or not at all.

        Args:
            path: Where; what is there is replaced.
            progress: Called behind each chunk.

        Raises:
            OSError: It cannot be written.
            AmzmqError: As `read`.
        """
        self._check_unread()
        file = _PartFile(Path(path))
        written = 0
        try:
            async for chunk in self:
                await _in_thread(partial(file.write, chunk))
                written += len(chunk)
                if progress is not None:
                    progress(written, self.size)
            await _in_thread(file.keep)
        except BaseException:
            file.discard()
            raise

    def add(self, data: bytes) -> None:
        """A chunk came, in order."""
        self._chunks.append(data)
        self._arrived.set()

    def finish(self) -> None:
        """All of it has come."""
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        """No more will come."""
        self._error = error
        self._chunks.clear()
        self._arrived.set()

    def _check_unread(self) -> None:
        if self.begun:
            raise RpcError(f"blob {self.name!r} was read already, at least in part")


class BlobIterator(Backlog[Blob]):
    """``async for blob in client.blobs("model")``; ends when the client stops.

    Offers are kept from the moment of creation on, up to `limit`; the oldest is dropped then,
    and counted in `dropped`.
    """

    def __init__(
        self, names: tuple[str, ...], limit: int, closed: Callable[[BlobIterator], None]
    ) -> None:
        super().__init__(f"blobs {' '.join(names)}".rstrip(), limit, closed)
        self._names = frozenset(names)

    def wants(self, name: str) -> bool:
        """Whether blobs of a name are of interest."""
        return not self._names or name in self._names


class _PartFile:
    """A file that appears under its name only when it is complete."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        self._file = self._path.open("xb")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def keep(self) -> None:
        """It is complete: give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())  # else a crash could leave an empty file under the name
        self._file.close()
        self._path.replace(self._target)

    def discard(self) -> None:
        """It will not be complete."""
        try:
            self._file.close()
        finally:
            self._path.unlink(missing_ok=True)


async def _in_thread(work: Callable[[], None]) -> None:
    """Run what may block; not left before the thread is done, even when canceled."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen: whoever canceled wants to hear of nothing else
        raise
