"""A machine served for a REPL: a Mux, and a file that tells its address (spec rpc 9.1).

Whoever may connect may change the machine. So the default address is reachable from this host
only, and the file can be read by its owner only.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from amzmq.errors import RpcError
from amzmq.machine import Machine
from amzmq.net import Transport
from amzmq.rpc.server.mux import Mux

_log = logging.getLogger("amzmq.repl")

DEFAULT_ADDR = "tcp://127.0.0.1:0"

ADDR_SUFFIX = ".addr"
"""How the names of address files end."""


class AddrFileFailed(RpcError):
    """The address file cannot be written; the message names it and says why.

    Args:
        path: The file.
        reason: What the system said.
    """

    def __init__(self, path: Path, reason: OSError) -> None:
        self.path = path
        super().__init__(
            f"address file {str(path)!r} cannot be written: {reason.strerror or reason}; "
            "give an addr_dir that this user may write to"
        )


class MachRepl:
    """A machine served for a REPL, from `start` to `stop`; made by `mach_repl`.

    It ends with the machine, too: when that is disposed, the address file goes as well.

    Attributes:
        mux: Serves the machine; its name is ``repl-<machine id>``.
        path: The address file; None without one.
    """

    def __init__(
        self,
        machine: Machine,
        addr: str,
        addr_dir: str | os.PathLike[str] | None,
        args: Iterable[type],
        addr_future: asyncio.Future[str] | None,
        err_future: asyncio.Future[None] | None,
        transport: Transport | None,
    ) -> None:
        self.mux = Mux(
            machine,
            addr,
            name=f"repl-{machine.id}",
            parent=machine,
            args=args,
            transport=transport,
        )
        self.path = None if addr_dir is None else addr_path(addr_dir, machine.id)
        self._machine = machine
        self._addr_future = addr_future
        self._err_future = err_future
        self._file: _AddrFile | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def addr(self) -> str:
        """Where the machine is served, with port 0 resolved.

        Raises:
            NotConnected: It is not started, or was stopped.
        """
        return self.mux.addr

    async def start(self) -> None:
        """Serve the machine and write the address file.

        Raises:
            RpcError: It is started already.
            AddressInUse: Somebody else listens there.
            AddressInvalid: Not an endpoint.
            AddrFileFailed: The file cannot be written, and there is no `err_future` to tell.
        """
        if self._ending is not None:
            raise RpcError(f"the REPL of {self._machine.id} was started already; make another one")
        try:
            await self.mux.start()
        except BaseException as error:
            _fail(self._addr_future, error)
            _fail(self._err_future, error)
            await self.mux.stop()
            raise
        self._ending = asyncio.create_task(self._until_disposed(), name=f"{self.mux.mach.id}.end")
        if self._addr_future is not None and not self._addr_future.done():
            self._addr_future.set_result(self.addr)
        try:
            self._write_file()
        except AddrFileFailed as error:
            if self._err_future is None or self._err_future.done():
                await self.stop()
                raise
            _log.warning("[%s] %s", self.mux.mach.id, error)
            self._err_future.set_exception(error)
        else:
            if self._err_future is not None and not self._err_future.done():
                self._err_future.set_result(None)
        _log.info("[%s] a REPL may connect to %s", self.mux.mach.id, self.addr)

    async def stop(self) -> None:
        """Remove the address file and end the Mux; again does nothing."""
        if self._ending is None:
            return
        if not self._machine.is_disposed:
            self._ending.cancel()
        await asyncio.wait([self._ending])
        if not self._ending.cancelled():
            self._ending.result()  # why it could not end by itself, if so
        await self._close()

    async def __aenter__(self) -> MachRepl:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _until_disposed(self) -> None:
        await self._machine.when_disposed()
        await self._close()

    async def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.remove()
        await self.mux.stop("the REPL's source ends")

    def _write_file(self) -> None:
        if self.path is None:
            return
        file = _AddrFile(self.path)
        try:
            file.write(self.addr)
        except OSError as error:
            raise AddrFileFailed(self.path, error) from error
        self._file = file


def mach_repl(
    machine: Machine,
    addr: str = "",
    *,
    addr_dir: str | os.PathLike[str] | None = None,
    args: Iterable[type] = (),
    addr_future: asyncio.Future[str] | None = None,
    err_future: asyncio.Future[None] | None = None,
    transport: Transport | None = None,
) -> MachRepl:
    """Make a machine ready to be served for a REPL (spec rpc 1.7, 9.1).

    Args:
        machine: The machine. Whoever reaches the address may change it.
        addr: Where to listen; "" is a free port that only this host reaches.
        addr_dir: Where the address file ``<machine id>.addr`` is written, for
            ``amzmq repl DIR``; made if missing. It is removed at the end, also that of the
            interpreter.
        args: Classes of typed arguments, which the REPL offers for completion; as of `Mux`.
        addr_future: Gets the address once it is bound, or the error.
        err_future: Gets None once the file is written, or the error; the machine is then
            served without a file.
        transport: What carries the frames; ZeroMQ by default.

    Returns:
        What serves it: an async context manager, or ``await repl.start()``.

    Raises:
        RpcError: AM_TEST_RUNNER is set: tests have no REPL.

    >>> async def main(machine: Machine) -> None:
    ...     async with mach_repl(machine, addr_dir="run") as repl:
    ...         print("amzmq repl", repl.addr)
    ...         await machine.when("Done")
    """
    if os.environ.get("AM_TEST_RUNNER"):
        raise RpcError(f"no REPL of {machine.id}: AM_TEST_RUNNER is set; unset it")
    return MachRepl(
        machine, addr or DEFAULT_ADDR, addr_dir, args, addr_future, err_future, transport
    )


def mach_repl_env(
    machine: Machine,
    *,
    args: Iterable[type] = (),
    addr_future: asyncio.Future[str] | None = None,
    err_future: asyncio.Future[None] | None = None,
    transport: Transport | None = None,
) -> MachRepl | None:
    """What `mach_repl` returns, if the environment asks for a REPL (spec rpc 9.1).

    AM_REPL_ADDR is the address, "1" the default one; AM_REPL_DIR is the folder of the address
    file, if any. AM_TEST_RUNNER turns it off.

    Args:
        machine: The machine.
        args: As of `mach_repl`.
        addr_future: As of `mach_repl`; left alone when no REPL is asked for.
        err_future: As of `mach_repl`; left alone when no REPL is asked for.
        transport: As of `mach_repl`.

    Returns:
        None without AM_REPL_ADDR.

    >>> async def main(machine: Machine) -> None:
    ...     async with mach_repl_env(machine) or contextlib.nullcontext():
    ...         await machine.when("Done")
    """
    addr = os.environ.get("AM_REPL_ADDR", "")
    if not addr:
        return None
    if os.environ.get("AM_TEST_RUNNER"):
        _log.info("no REPL of %s: AM_TEST_RUNNER is set", machine.id)
        return None
    return mach_repl(
        machine,
        "" if addr == "1" else addr,
        addr_dir=os.environ.get("AM_REPL_DIR") or None,
        args=args,
        addr_future=addr_future,
        err_future=err_future,
        transport=transport,
    )


def addr_path(folder: str | os.PathLike[str], machine_id: str) -> Path:
    """The address file of a machine; what a file name cannot have is percent-encoded.

    >>> addr_path("run", "door").name, addr_path("run", "../door").name
    ('door.addr', '..%2Fdoor.addr')
    """
    return Path(folder) / f"{quote(machine_id, safe=' :@+')}{ADDR_SUFFIX}"


def _fail(future: asyncio.Future[str] | asyncio.Future[None] | None, error: BaseException) -> None:
    if future is None or future.done():
        return
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
    else:
        future.set_exception(error)
        future.exception()  # the caller gets the same error: nobody has to look here


class _AddrFile:
    """A file with an address; whole or not there at all, and gone when the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self._addr = ""

    def write(self, addr: str) -> None:
        """Write it.

        Raises:
            OSError: The folder or the file cannot be made.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with the mode 0600.
        fd, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=self._path.parent)
        try:
            with open(fd, "w", encoding="utf-8") as file:
                file.write(addr)
            os.replace(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            raise
        self._addr = addr
        atexit.register(self.remove)

    def remove(self) -> None:
        """Remove it, unless somebody else serves a machine of that id by now."""
        atexit.unregister(self.remove)
        if os.getpid() != self._pid:
            return  # a forked child ends, and does not own it
        try:
            if self._path.read_text(encoding="utf-8") == self._addr:
                self._path.unlink()
        except FileNotFoundError:
            _log.info("address file %s is gone already", self._path)
        except OSError as error:
            _log.warning("address file %s stays behind: %s", self._path, error)
