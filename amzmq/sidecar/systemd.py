"""Telling systemd how it goes: the protocol of sd_notify, which is a datagram of lines."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

_log = logging.getLogger("amzmq.sidecar")


class Notifier:
    """Tells the service manager, if there is one.

    Args:
        environment: The process's, with NOTIFY_SOCKET and WATCHDOG_USEC.

    Attributes:
        watchdog_s: Seconds within which `alive` has to be told; 0 if nobody watches.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog(environment) if self._path else 0.0

    def ready(self, status: str) -> None:
        """All that was to be started is there."""
        self._tell("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """What a person may want to read."""
        self._tell(f"STATUS={text}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` follows."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """The event loop turns."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._path:
            return
        # A name with "@" is in Linux's abstract namespace, where it begins with NUL.
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            _log.warning("NOTIFY_SOCKET=%s: %s", self._path, error)


def _watchdog(environment: Mapping[str, str]) -> float:
    pid = environment.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() else 0.0
