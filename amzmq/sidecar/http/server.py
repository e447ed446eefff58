"""The server of the local interface: uvicorn inside of the daemon's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from amzmq.errors import AddressInUse, AddressInvalid
from amzmq.machine import Machine
from amzmq.sidecar.checks import UNIX, is_loopback, split_host_port
from amzmq.sidecar.config import DaemonConfig
from amzmq.sidecar.directory import Directory
from amzmq.sidecar.http.app import Interface
from amzmq.sidecar.http.metrics import Metrics
from amzmq.sidecar.instance import Claim

_log = logging.getLogger("amzmq.sidecar.http")

GOODBYE_WAIT = 3
"""Seconds that requests under way have at the end."""

_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


class _Server(uvicorn.Server):
    """Leaves signals to the daemon, and tells when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the daemon's."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.up.set()


class HttpServer:
    """Serves the interface at one address.

    Args:
        config: Where, and for whom.
        directory: The machines.
        daemon: Whose Ready is the readiness of the whole.
        metrics: What ``/metrics`` shows.

    Attributes:
        address: Where it is reached, as a URL or ``unix:/PATH``; known once it has started.
    """

    def __init__(
        self, config: DaemonConfig, directory: Directory, daemon: Machine, metrics: Metrics
    ) -> None:
        self.address = ""
        self._config = config
        # On a Unix socket clients put anything there; beyond the loopback we cannot know.
        checked = not config.http.startswith(UNIX) and is_loopback(config.http)
        hosts = _LOCAL_NAMES | {split_host_port(config.http)[0]} if checked else None
        self._interface = Interface(directory, daemon, metrics, hosts)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._claim: Claim | None = None

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            AddressInUse: Somebody else listens there.
            AddressInvalid: It cannot be listened at.
        """
        where = self._config.http
        self._claim = Claim.on(where, self._config.name)
        try:
            listening = _listen(where)
        except BaseException:
            self._release()
            raise
        self.address = _address(where, listening)
        settings = uvicorn.Config(
            self._interface.app,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=GOODBYE_WAIT,
            server_header=False,
        )
        self._server = _Server(settings)
        self._serving = asyncio.create_task(
            self._server.serve(sockets=[listening]), name="sidecar.http"
        )
        is_up = asyncio.create_task(self._server.up.wait())
        try:
            await asyncio.wait([self._serving, is_up], return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_up.cancel()
            await asyncio.wait([is_up])
        if self._serving.done():
            self._release()
            await self._serving
        _log.info("http at %s", self.address)

    async def stop(self) -> None:
        """Answer what is under way, and stop."""
        if self._server is None or self._serving is None:
            return
        self._interface.close()
        self._server.should_exit = True
        try:
            await self._serving
        finally:
            self._remove_socket()
            self._release()

    def _remove_socket(self) -> None:
        if self._config.http.startswith(UNIX):
            Path(self._config.http[len(UNIX) :]).unlink(missing_ok=True)

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None


def _listen(where: str) -> socket.socket:
    if where.startswith(UNIX):
        return _listen_unix(where[len(UNIX) :], where)
    host, port = split_host_port(where)
    try:
        return socket.create_server((host, port), family=_family(host, port), backlog=128)
    except (OSError, UnicodeError) as error:
        raise _refusal(where, error) from error


def _family(host: str, port: int) -> socket.AddressFamily:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]


def _listen_unix(path: str, where: str) -> socket.socket:
    """Listen on a path; one that nobody listens on any more is taken over."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_socket(path):
            if sock.connect_ex(path) == 0:
                raise AddressInUse(where, "another process answers on this path")
            os.unlink(path)
        sock.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nobody else may come in, not even between bind and chmod.
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise _refusal(where, error) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _refusal(where: str, error: Exception) -> AddressInUse | AddressInvalid:
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, OSError) and error.errno in (98, 48):
        return AddressInUse(where, reason)
    return AddressInvalid(where, reason)


def _address(where: str, sock: socket.socket) -> str:
    if where.startswith(UNIX):
        return where
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
