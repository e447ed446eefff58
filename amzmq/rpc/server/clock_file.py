"""A file that keeps clocks: locked, read whole, appended to, replaced as a whole.

What it holds, `clock_records` says. It is replaced by writing its successor beside it and renaming
that, so at each moment one complete file has the name.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path

from amzmq.errors import RpcError
from amzmq.rpc.server.clock_records import MAGIC, Chain, Contents, Damaged, StoredClock, read, whole

_NEW_FILE = "check that the folder exists, that it may be written, and that the disk has room"


class PersistFailed(RpcError):
    """Clocks cannot be kept in a file, or not be taken from it.

    Args:
        path: The file.
        reason: Why not.
        remedy: What to do about it.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"persist={os.fspath(path)!r}: {reason}; {remedy}")


class ClockFile:
    """The file of one Mux; nobody else's while this is open.

    Args:
        path: Its name. A lock is held on the same name with ``.lock``, which stays.

    Attributes:
        size: Bytes in the file.
        written: Bytes written to it, and to those it replaced, since it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.written = 0
        self._chain = Chain()
        self._fd = -1
        self._lock_fd = -1

    def open(self) -> Contents:
        """Lock the file and read it; a file that does not exist holds nothing.

        Follow it with `replace`: before that nothing can be appended.

        Raises:
            PersistFailed: It is locked, cannot be read, or is damaged.
        """
        self._lock()
        try:
            return read(self.path.read_bytes())
        except FileNotFoundError:
            return Contents({}, 0)
        except Damaged as error:
            self.close()
            raise PersistFailed(
                self.path,
                str(error),
                "restore a copy of it, or move it away to begin with new clocks, which followers "
                "see as time going back",
            ) from None
        except OSError as error:
            self.close()
            remedy = "give the name of a file that may be read"
            raise PersistFailed(self.path, _words(error), remedy) from error

    def _lock(self) -> None:
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise PersistFailed(
                self.path,
                f"another Mux uses it, and holds {os.fspath(lock)!r}",
                "stop that one, or give each its own file",
            ) from None
        except OSError as error:
            self.close()
            raise PersistFailed(self.path, _words(error), _NEW_FILE) from error
        _open_files.add(self)

    @property
    def is_open(self) -> bool:
        """Whether records can be appended."""
        return self._fd >= 0

    def append(self, bodies: Iterable[bytes]) -> None:
        """Write records, handed to the system when this returns, but not to the disk.

        Raises:
            OSError: They are not written, or only in part; `replace` the file then.
        """
        data = b"".join(map(self._chain.record, bodies))
        self._write(self._fd, data)
        self.size += len(data)

    def sync(self) -> None:
        """Wait until all that was appended is on the disk.

        Raises:
            OSError: Nobody knows what is; `replace` the file then.
        """
        os.fdatasync(self._fd)

    def replace(self, clocks: Mapping[int, StoredClock]) -> None:
        """Put a new file in the place of this one, on the disk when this returns.

        Raises:
            OSError: It could not be written; the present one is as it was.
        """
        chain = Chain()
        records = [chain.record(whole(number, clock)) for number, clock in clocks.items()]
        successor = self.path.with_name(f"{self.path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(successor, flags, 0o600)
        try:
            data = b"".join((MAGIC, *records))
            self._write(fd, data)
            os.fsync(fd)
            os.rename(successor, self.path)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._chain, self.size = fd, chain, len(data)
        self._sync_folder()

    def _sync_folder(self) -> None:
        """The new name is on the disk only when its folder is."""
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _write(self, fd: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            count = os.write(fd, left)
            self.written += count
            left = left[count:]

    def close(self) -> None:
        """Close the file, and let others have it."""
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1
        _open_files.discard(self)


def _words(error: OSError) -> str:
    return error.strerror or str(error)


_open_files: weakref.WeakSet[ClockFile] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """A fork shares the lock, and would keep it when the parent is gone."""
    for file in list(_open_files):
        file.close()


os.register_at_fork(after_in_child=_leave_to_parent)
