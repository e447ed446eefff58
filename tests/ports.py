"""TCP ports to bind by number: for what is started again where it was.

Port 0 is better wherever it will do. But who binds port 0 gets a port of the range that outgoing
connections are given theirs from; once it is let go, or for the feed one port behind it, any
connection of any process may have it. So these are below that range.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOWEST = 20_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int = 2) -> list[int]:
    """So many ports in a row that nobody listens at: a Mux takes the next one for its feed."""
    highest = int(_EPHEMERAL.read_text().split()[0]) - count
    assert highest > LOWEST, f"connections get their ports from {highest} on"
    # Of the system's own randomness: tests that run beside this one have the same seed.
    for first in random.SystemRandom().sample(range(LOWEST, highest), 1000):
        ports = list(range(first, first + count))
        if all(_is_free(port) for port in ports):
            return ports
    raise AssertionError("no free ports")


def free_addr() -> str:
    """The address of a Mux that is to be started there more than once."""
    return f"tcp://127.0.0.1:{free_ports()[0]}"


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
