"""How machines are served to programs of this host, so that hundreds of them at rest cost little.

Between processes of one host the kernel tells at once that the other end is gone. Heartbeats find
only what hangs there, and may come more rarely than over a network.
"""

from __future__ import annotations

from amzmq.cli.security import Lock
from amzmq.net import SocketOptions, ZmqTransport
from amzmq.net.curve import is_local

HEARTBEAT_S = 2.0
"""Seconds between heartbeats of the machines; followers beat as often."""

OPTIONS = SocketOptions(heartbeat_interval_ms=5000, heartbeat_timeout_ms=10_000)
"""Of the sockets: a stopped process still loses its queue in the end."""

REMOTE_HEARTBEAT_S = 1.0
"""For followers that a network lies between."""


def heartbeat(bind: str) -> float:
    """Seconds between heartbeats of what is served at an address."""
    return HEARTBEAT_S if is_local(bind) else REMOTE_HEARTBEAT_S


def transport(lock: Lock, bind: str) -> ZmqTransport:
    """What serves at an address.

    Raises:
        SecurityUnfit: Something of the lock cannot be used.
    """
    locked = lock.transport()
    return locked if lock.bind_key or not is_local(bind) else ZmqTransport(OPTIONS)
