"""What a blob's chunks are read from: memory or a file."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from amzmq.errors import InvalidArgs
from amzmq.wire.blobs import CHUNK_LIMIT, CHUNK_SIZE, BlobDamaged, BlobOffer
from amzmq.wire.compression import ZSTD, compress, encodings

BlobData: TypeAlias = bytes | bytearray | memoryview | Path | BinaryIO
"""What can be offered: bytes, a file by its path, or a binary file that can seek."""


class BlobPart(NamedTuple):
    """A chunk as it is sent.

    Attributes:
        size: Its bytes, uncompressed.
        encoding: "" for plain bytes, else how they are compressed.
        data: What travels.
    """

    size: int
    encoding: str
    data: bytes


class BlobSource:
    """What a blob's chunks are read from. Any thread may read; one at a time does.

    Args:
        data: Bytes, a file's path, or a binary file that can seek. A path is opened and stays
            open until `close`; a file is the caller's to close.
        chunk_size: Bytes of each chunk but the last.

    Raises:
        InvalidArgs: There is no such file, or `data` is something else.
    """

    def __init__(self, data: BlobData, chunk_size: int = CHUNK_SIZE) -> None:
        if not 0 < chunk_size <= CHUNK_LIMIT:
            raise InvalidArgs(f"chunk_size={chunk_size}; 1 to {CHUNK_LIMIT} bytes are allowed")
        self.chunk_size = chunk_size
        self._lock = threading.Lock()
        self._memory: bytes | None = None
        self._file: BinaryIO | None = None
        self._is_ours = isinstance(data, Path)
        self._stamp: tuple[int, int] | None = None
        self._digest = b""
        self._closed = False
        if isinstance(data, bytes | bytearray | memoryview):
            self.name = "bytes"
            self._memory = bytes(data)
            self.size = len(self._memory)
            return
        self.name = str(data) if isinstance(data, Path) else repr(getattr(data, "name", data))
        self._file = _opened(data)
        if self._is_ours:
            self._stamp = _stamp(self._file)
        self.size = self._file.seek(0, os.SEEK_END)

    @property
    def offer(self) -> BlobOffer:
        """What to say of it; with the digest if that has been taken."""
        return BlobOffer(self.size, self.chunk_size, self._digest)

    def take_digest(self) -> bytes:
        """The SHA-256 of all its bytes; reads them once, which may take a while.

        Raises:
            BlobDamaged: The file has changed, or was closed.
        """
        if not self._digest:
            total = hashlib.sha256()
            for offset in range(0, self.size, self.chunk_size):
                total.update(self._read(offset))
            self._digest = total.digest()
        return self._digest

    def part(self, offset: int, understood: Sequence[str] = ()) -> BlobPart:
        """The chunk that begins at a byte.

        Args:
            offset: The byte.
            understood: The encodings that the receiver can read.

        Raises:
            BlobDamaged: The file has changed, or was closed.
        """
        data = self._read(offset)
        if ZSTD in understood and ZSTD in encodings():
            packed = compress(data)
            if packed is not None:
                return BlobPart(len(data), ZSTD, packed)
        return BlobPart(len(data), "", data)

    def close(self) -> None:
        """Let go of the data, once nobody reads any more; never waits for that."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # whoever holds it looks here when done
        try:
            self._memory = None
            if self._file is not None and self._is_ours:
                self._file.close()
        finally:
            self._lock.release()

    def _read(self, offset: int) -> bytes:
        try:
            return self._read_locked(offset)
        finally:
            if self._closed:
                self._let_go()

    def _read_locked(self, offset: int) -> bytes:
        size = min(self.chunk_size, self.size - offset)
        with self._lock:
            if self._closed:
                raise BlobDamaged(f"blob {self.name} was closed")
            if self._memory is not None:
                return self._memory[offset : offset + size]
            assert self._file is not None
            try:
                data = _read_at(self._file, offset, size)
                if self._stamp is not None and _stamp(self._file) != self._stamp:
                    raise BlobDamaged(f"blob {self.name} has changed since it was offered")
            except (OSError, ValueError) as error:  # ValueError: the caller closed it
                raise BlobDamaged(f"blob {self.name} cannot be read: {error}") from error
        if len(data) < size:
            raise BlobDamaged(f"blob {self.name} ends at byte {offset + len(data)} of {self.size}")
        return data


def _opened(data: Path | BinaryIO) -> BinaryIO:
    if isinstance(data, Path):
        # A pipe would wait here for somebody to write.
        if not data.is_file():
            raise InvalidArgs(f"blob {str(data)!r} is no file; give bytes, or a file's path")
        try:
            return data.open("rb")
        except OSError as error:
            raise InvalidArgs(f"blob {str(data)!r} cannot be opened: {error}") from error
    can_seek = getattr(data, "seekable", None)
    if can_seek is None or not can_seek() or isinstance(data, io.TextIOBase):
        raise InvalidArgs(f"blob={data!r:.80}: give bytes, a Path, or a binary file that can seek")
    return data


def _stamp(file: BinaryIO) -> tuple[int, int]:
    """What changes when a file is written to."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """The bytes there; fewer only at the end of the file."""
    file.seek(offset)
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more  # an unbuffered file may give less than it has
    return data
