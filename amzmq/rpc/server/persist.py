"""Keeps the clocks of a Mux's machines in a file, so that a restarted source goes on where it was.

Everything that a Mux tells of a machine comes from a feed's `take`, which stages here what
changed. What is staged is written before the next message leaves: so nobody is told what a crash
takes back, and all mutations of a loop turn cost one write. The loop waits for it; what arrives
meanwhile is the next turn's.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from amzmq.errors import RpcError
from amzmq.machine import ClockReading, Machine
from amzmq.machine.schema import EXCEPTION
from amzmq.rpc.server.clock_file import ClockFile, PersistFailed
from amzmq.rpc.server.clock_ledger import Ledger
from amzmq.wire.control import Bye, Message, Refusal, RefusalCode, Reply

_log = logging.getLogger("amzmq.persist")

SYNC_INTERVAL = 1.0
"""Seconds between syncs of `Fsync.INTERVAL`; as Redis' appendfsync everysec."""

RETRY_INTERVAL = 1.0
"""Seconds until a file that could not be written is tried again."""

REPLACE_SIZE = 4 * 1024 * 1024
"""Bytes at which a file is replaced by a short one, if it has grown to four times its length."""

_GROWTH = 4

_REMEDY = "make room on the disk, or repair it; it is tried again every second"
_REMEDY_AT_END = "what changed since it was last written is lost"


class Fsync(enum.Enum):
    """When what was written is forced to the disk. A crash of the process alone loses nothing.

    A crash of the system, or of its power, loses
    """

    ALWAYS = "always"
    """nothing that anybody was told: each turn of the loop is on the disk before it is told."""
    INTERVAL = "interval"
    """up to `SYNC_INTERVAL` seconds."""
    NEVER = "never"
    """whatever the system had not written by itself; on Linux some 30 s."""


FsyncLike: TypeAlias = Fsync | Literal["always", "interval", "never"]
PathLike: TypeAlias = str | os.PathLike[str]


class Keeper:
    """Keeps the clocks of one Mux; on the event loop's thread only.

    Args:
        path: The file; made if there is none.
        fsync: When it is forced to the disk.
        mach: The Mux's machine: Exception is active, and Ready is not, while the file cannot be
            written.

    Attributes:
        commits: How often something was written.
        synced: How often it was forced to the disk.
        replaced: How often the file was replaced by a short one.
        failed: How often the file could not be written.
        withheld: Messages that did not leave because of that.
        torn: Bytes at the end of the file that a crash had cut short, when it was read.

    Raises:
        RpcError: There is no such `fsync`.
    """

    def __init__(self, path: PathLike, fsync: FsyncLike, mach: Machine) -> None:
        self.commits = self.synced = self.replaced = self.failed = self.withheld = self.torn = 0
        self._fsync = _policy(fsync)
        self._mach = mach
        self._file = ClockFile(Path(path))
        self._ledger = Ledger({})
        self._staged: list[bytes] = []
        self._replace_at = REPLACE_SIZE
        self._failure: PersistFailed | None = None
        self._is_unsynced = False
        self._sync_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None

    # Beginning and end.

    def open(self, machine_ids: Iterable[str]) -> None:
        """Read the file.

        Args:
            machine_ids: Of the machines that will be served at once.

        Raises:
            PersistFailed: It is locked, cannot be read, is damaged, or is that of others.
        """
        contents = self._file.open()
        self._ledger = Ledger(contents.clocks)
        self.torn = contents.torn
        if self.torn:
            _log.warning(
                "[%s] a write to %s was cut short by a crash: its last %d bytes are left out",
                self._mach.id, self._file.path, self.torn,
            )  # fmt: skip
        wanted, known = list(machine_ids), self._ledger.machine_ids
        if wanted and known and set(wanted).isdisjoint(known):
            self._file.close()
            raise PersistFailed(
                self._file.path,
                f"it keeps the clock of {' '.join(known)}, not of {' '.join(wanted)}",
                "give the file of this machine, or the name of a new one",
            )

    def restore(self, machine: Machine) -> None:
        """Let a machine go on where it was, if the file knows it; before its feed is made.

        Raises:
            PersistFailed: The machine has gone another way already.
        """
        if behind := self._ledger.restore(machine):
            raise PersistFailed(
                self._file.path,
                f"machine {machine.id!r} has begun already, and is behind its file: {behind}",
                "start the Mux before the first mutation, or give the name of a new file",
            )

    def begin(self) -> None:
        """The machines are restored, and their feeds made: from now on the file is written.

        Raises:
            PersistFailed: It cannot be.
        """
        try:
            self._replace()
        except OSError as error:
            raise self._failure_of(error, "check that its folder may be written") from error

    def close(self) -> None:
        """Write what is staged, and leave the file to others."""
        for timer in (self._sync_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        self._sync_timer = self._retry_timer = None
        if self._file.is_open:
            self._write_last()
        self._file.close()

    def _write_last(self) -> None:
        try:
            if self._failure is not None or self._fsync is not Fsync.NEVER:
                self._replace()
            elif self._staged:
                self._file.append(self._staged)
        except OSError as error:
            self.failed += 1
            _log.error("[%s] %s", self._mach.id, self._failure_of(error, _REMEDY_AT_END))

    # What changes.

    def adopt(self, machine_id: str, start: ClockReading) -> None:
        """A feed begins to tell of a machine."""
        self._staged.append(self._ledger.adopt(machine_id, start))

    def stage(self, machine_id: str, reading: ClockReading) -> None:
        """A clock has changed, and others will be told."""
        self._staged.append(self._ledger.change(machine_id, reading))

    # What is written.

    @property
    def blocked(self) -> str:
        """Why nothing may be told now, and no mutation be run; "" if all is well."""
        if self._failure is None or self._fsync is not Fsync.ALWAYS:
            return ""
        return str(self._failure)

    def commit(self) -> bool:
        """Write what is staged; whether it may be told."""
        if self._failure is not None:
            self._staged.clear()  # the whole clocks are written, once that is possible
            return self._fsync is not Fsync.ALWAYS
        if not self._staged:
            return True
        if not self._file.is_open:
            return False
        staged, self._staged = self._staged, []
        try:
            self._file.append(staged)
            if self._fsync is Fsync.ALWAYS:
                self._file.sync()
                self.synced += 1
        except OSError as error:
            self._fail(error)
            return self._fsync is not Fsync.ALWAYS
        self.commits += 1
        if self._fsync is Fsync.INTERVAL:
            self._is_unsynced = True
            if self._sync_timer is None:
                loop = asyncio.get_running_loop()
                self._sync_timer = loop.call_later(SYNC_INTERVAL, self._sync_due)
        if self._file.size >= self._replace_at:
            self._shorten()
        return True

    def _sync_due(self) -> None:
        self._sync_timer = None
        self._sync()

    def _sync(self) -> None:
        if not self._is_unsynced or self._failure is not None:
            return
        try:
            self._file.sync()
        except OSError as error:
            self._fail(error)
            return
        self._is_unsynced = False
        self.synced += 1

    def _replace(self) -> None:
        self._file.replace(self._ledger.clocks)
        self._staged.clear()
        self._is_unsynced = False
        self.replaced += 1
        self._replace_at = max(REPLACE_SIZE, _GROWTH * self._file.size)

    def _shorten(self) -> None:
        """Replace a file that has become long; if that fails, the long one does as well."""
        try:
            self._replace()
        except OSError as error:
            self.failed += 1
            self._replace_at = 2 * self._file.size
            _log.warning("[%s] %s stays long: %s", self._mach.id, self._file.path, error)

    # What may leave.

    def guarding(
        self, send: Callable[[Sequence[bytes]], None]
    ) -> Callable[[Sequence[bytes]], None]:
        """A `send` of the feed that goes behind the file. Followers fetch what was withheld."""

        def send_written(frames: Sequence[bytes]) -> None:
            if self.commit():
                send(frames)
            else:
                self.withheld += len(frames)

        return send_written

    def passed(self, message: Message | bytes) -> Message | bytes | None:
        """What may be said instead of a message now: itself, if all is written."""
        if self.commit() or isinstance(message, (Refusal, Bye)):
            return message
        self.withheld += 1
        if isinstance(message, Reply):
            return Refusal(message.request, RefusalCode.OUTCOME_UNKNOWN, self.blocked)
        return None

    # What goes wrong.

    def _fail(self, error: OSError) -> None:
        self.failed += 1
        self._failure = self._failure_of(error, _REMEDY)
        _log.error("[%s] %s", self._mach.id, self._failure)
        self._mach.add_err(self._failure)
        self._retry_soon()

    def _failure_of(self, error: OSError, remedy: str) -> PersistFailed:
        return PersistFailed(self._file.path, error.strerror or str(error), remedy)

    def _retry_soon(self) -> None:
        loop = asyncio.get_running_loop()
        self._retry_timer = loop.call_later(RETRY_INTERVAL, self._retry)

    def _retry(self) -> None:
        """Write all clocks to a new file: what became of the present one, nobody knows."""
        self._retry_timer = None
        try:
            self._replace()
        except OSError:
            self.failed += 1
            self._retry_soon()
            return
        self._failure = None
        self.commits += 1
        _log.warning("[%s] %s can be written again", self._mach.id, self._file.path)
        self._mach.remove(EXCEPTION)
        self._mach.add("Ready")

    def metrics(self) -> dict[str, int]:
        """All counters, as `Mux.metrics()` has them."""
        return {
            "persist_commits": self.commits,
            "persist_syncs": self.synced,
            "persist_bytes": self._file.written,
            "persist_replaced": self.replaced,
            "persist_failed": self.failed,
            "persist_withheld": self.withheld,
            "persist_torn_bytes": self.torn,
        }


def _policy(fsync: FsyncLike) -> Fsync:
    try:
        return Fsync(fsync)
    except ValueError:
        known = ", ".join(repr(policy.value) for policy in Fsync)
        raise RpcError(f"fsync={fsync!r}: no such policy; it is one of {known}") from None
