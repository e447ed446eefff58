"""Binding and connecting, with the system's refusals put into our words."""

from __future__ import annotations

import errno
import re
import socket
from typing import TYPE_CHECKING

import zmq

from amzmq.errors import AddressInUse, AddressInvalid

if TYPE_CHECKING:
    ZmqRaw = zmq.Socket[bytes]

_PORT = re.compile(r"^tcp://.+:(\d+)$")
_DIGITS = re.compile(r"[0-9]{1,5}")
_REASONS = {
    errno.EINVAL: "malformed",
    errno.ENODEV: "no such host or interface here",
    errno.EADDRNOTAVAIL: "not an address of this host",
    errno.EACCES: "no permission to bind it",
    errno.ENOENT: "no such directory",
    errno.ENAMETOOLONG: "the path is too long for a socket",
    errno.EPROTONOSUPPORT: "unknown scheme",
    zmq.ENOCOMPATPROTO: "this scheme does not fit the socket",
}


def bind(sock: ZmqRaw, endpoint: str) -> str:
    """Binds and returns the real endpoint.

    Raises:
        AddressInUse: Somebody listens there.
        AddressInvalid: It cannot be bound at all.
    """
    _check_port(endpoint, lowest=0)
    if _ipc_is_served(endpoint):
        raise AddressInUse(endpoint, "another process answers on this path")
    try:
        sock.bind(endpoint)
    except zmq.ZMQError as err:
        if err.errno == errno.EADDRINUSE:
            raise AddressInUse(endpoint) from None
        raise AddressInvalid(endpoint, _reason(err)) from None
    return sock.getsockopt_string(zmq.LAST_ENDPOINT)


def connect(sock: ZmqRaw, endpoint: str) -> None:
    """Starts connecting, which then goes on for as long as the socket lives.

    Raises:
        AddressInvalid: Nobody can ever be there.
    """
    _check_port(endpoint, lowest=1)
    try:
        sock.connect(endpoint)
    except zmq.ZMQError as err:
        raise AddressInvalid(endpoint, _reason(err)) from None


def _reason(err: zmq.ZMQError) -> str:
    return _REASONS.get(err.errno or 0) or zmq.strerror(err.errno or 0)


def _check_port(endpoint: str, lowest: int) -> None:
    """Refuses ports that libzmq would try to connect to for ever, silently."""
    found = _PORT.match(endpoint)
    if found and not lowest <= int(found[1]) <= 65535:
        raise AddressInvalid(endpoint, f"a port here is between {lowest} and 65535")


def _ipc_is_served(endpoint: str) -> bool:
    """Whether a process answers on an ipc path.

    libzmq unlinks the path before it binds, so a second binder would silently take the
    address over from a running first one. A path left by a dead process refuses us, and
    taking that over is right.
    """
    scheme, _, path = endpoint.partition("://")
    if scheme != "ipc" or not path or path == "*":
        return False
    name = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except BlockingIOError:
            return True  # its backlog is full, so somebody is there
        except OSError:
            return False
        return True


def feed_endpoint(bind: str) -> str:
    """The default feed endpoint beside a conversation's."""
    scheme, _, rest = bind.partition("://")
    if scheme != "tcp":
        return f"{bind}.feed"
    host, _, port = rest.rpartition(":")
    if port in ("0", "*"):
        return bind
    if not _DIGITS.fullmatch(port):
        raise AddressInvalid(bind, "the port is missing")
    return f"tcp://{host}:{int(port) + 1}"
