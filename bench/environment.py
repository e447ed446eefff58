"""What a figure depends on besides us: versions, and the size of the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata

import zmq

PACKAGES = (
    "pyzmq",
    "msgpack",
    "transitions",
    "python-statemachine",
    "grpcio",
    "RPyC",
    "Pyro5",
    "redis",
    "nats-py",
)
PROGRAMS = ("redis-server", "nats-server")
MISSING = "missing"
_PATIENCE_S = 10.0


def facts() -> dict[str, str]:
    """Name to version or number; nothing that tells which machine it is."""
    return {
        platform.python_implementation(): platform.python_version(),
        "libzmq": zmq.zmq_version(),
        **{name: _package(name) for name in PACKAGES},
        **{name: _program(name) for name in PROGRAMS},
        "system": platform.system(),
        "cores": str(os.cpu_count()),
    }


def in_a_line(facts: dict[str, str]) -> str:
    """The same for people."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return MISSING


def _program(name: str) -> str:
    if shutil.which(name) is None:
        return MISSING
    done = subprocess.run(
        [name, "--version"], capture_output=True, text=True, timeout=_PATIENCE_S, check=True
    )
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "of unknown version"
