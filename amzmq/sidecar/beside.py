"""How machines are served to programs of this host, so that hundreds of them at rest cost little.

Between processes of one host the kernel tells at once that the other end is gone. Heartbeats find
only what hangs there, and may come more rarely than over a network.
"""

from __future__ import annotations

from amzmq.net.curve import is_local

HEARTBEAT_S = 3.0
"""Seconds between heartbeats of the machines; followers beat as often."""

REMOTE_HEARTBEAT_S = 1.0
"""For followers that a network lies between."""


def heartbeat(bind: str) -> float:
    """Seconds between heartbeats of what is served at an address."""
    return HEARTBEAT_S if is_local(bind) else REMOTE_HEARTBEAT_S
