"""What a value in the configuration has to look like: each check returns "" or the remedy."""

from __future__ import annotations

import ipaddress
import re
import signal
from urllib.parse import urlsplit

_TCP = re.compile(r"tcp://(\[[0-9a-fA-F:.%]+\]|[^:/\s\[\]]+):(\d{1,5})")
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:/\s\[\]]+):(\d{1,5})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_STATE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")

HTTP_OFF = "off"
UNIX = "unix:"
_LAST_PORT = 65535


def positive(value: float) -> str:
    """Seconds, or a count, above 0."""
    return "" if 0 < value < float("inf") else "give a number above 0"


def not_negative(value: float) -> str:
    """Seconds, or a count, of 0 and more."""
    return "" if 0 <= value < float("inf") else "give 0 or more"


def line_bytes(value: int) -> str:
    """Bytes of a line: it travels in one message."""
    return "" if 64 <= value <= 65536 else "give 64 to 65536"


def at_least_one(value: float) -> str:
    """A factor."""
    return "" if 1 <= value < float("inf") else "give 1 or more"


def name(value: str) -> str:
    """The name of a job or of the daemon: it appears in addresses of the HTTP interface."""
    if _NAME.fullmatch(value):
        return ""
    return "use letters, digits, '_', '.' and '-', e.g. 'web-1'"


def state_name(value: str) -> str:
    """The name of a state."""
    return "" if _STATE.fullmatch(value) else "write a state like 'Busy'"


def endpoint(value: str) -> str:
    """An endpoint of ZeroMQ."""
    if value.startswith("ipc:///"):
        return ""
    match = _TCP.fullmatch(value)
    if match and int(match[2]) <= _LAST_PORT:
        return ""
    return "write it like 'tcp://127.0.0.1:7701' or 'ipc:///run/app.sock'"


def http_address(value: str) -> str:
    """Where the HTTP interface listens."""
    if value == HTTP_OFF or (value.startswith(UNIX + "/") and len(value) > len(UNIX) + 1):
        return ""
    return host_port(value) and "write '127.0.0.1:7790', 'unix:/run/app.sock' or 'off'"


def host_port(value: str) -> str:
    """A host and a port."""
    match = _HOST_PORT.fullmatch(value)
    return "" if match and int(match[2]) <= _LAST_PORT else "write it like '127.0.0.1:8080'"


def http_url(value: str) -> str:
    """What is asked for readiness."""
    remedy = "write it like 'http://127.0.0.1:8080/health'; https is not asked"
    try:
        parts = urlsplit(value)
        usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return remedy
    return "" if usable and not re.search(r"\s", value) else remedy


def pattern(value: str) -> str:
    """A regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        return f"not a regular expression ({error}); escape what is meant literally"
    return "" if value else "give the text to wait for"


def signal_name(value: str) -> str:
    """A signal that can be sent to end or to tell something."""
    if value in signal.Signals.__members__ and value not in ("SIGKILL", "SIGSTOP", "SIGCHLD"):
        return ""
    return "name a signal that can be handled, e.g. 'SIGTERM'"


def target(value: str) -> str:
    """A machine in a Python module."""
    return "" if _TARGET.fullmatch(value) else "write it like 'door:machine'"


def not_empty(value: str) -> str:
    """A text that has to say something."""
    return "" if value else "it must not be empty"


def argument(value: str) -> str:
    """What can be handed to a process."""
    return "take out the NUL character" if "\0" in value else ""


def is_loopback(address: str) -> bool:
    """Whether an HTTP address is reached from this host only."""
    if address.startswith(UNIX) or address == HTTP_OFF:
        return True
    host = split_host_port(address)[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def split_host_port(address: str) -> tuple[str, int]:
    """Host and port, without the brackets of IPv6.

    >>> split_host_port("[::1]:80"), split_host_port("localhost:0")
    (('::1', 80), ('localhost', 0))
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def has_free_port(address: str) -> bool:
    """Whether the system chooses the port, so that nobody else can have it."""
    return address.endswith(":0")
