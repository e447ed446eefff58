"""One sidecar an address: who is second is told who is first."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from amzmq.errors import AddressInUse
from amzmq.sidecar.checks import has_free_port

_log = logging.getLogger("amzmq.sidecar")


class AddressHeld(AddressInUse):
    """Another sidecar serves at the address.

    Args:
        address: The endpoint.
        holder: Who it is, as that one says.
    """

    def __init__(self, address: str, holder: str) -> None:
        super().__init__(address, f"held by {holder}")


@dataclass(slots=True)
class Claim:
    """The right to serve at an address, as long as it is not released.

    The file stays behind: to remove it could take it from under the next one.
    """

    address: str
    _descriptor: int

    @classmethod
    def on(cls, address: str, name: str) -> Claim | None:
        """Claim an address for the sidecar of this name.

        Returns:
            The claim; None where there is no folder for it, or the port is any that is free.
            A second one is refused all the same then, when it binds, only less kindly.

        Raises:
            AddressHeld: Another sidecar of this user has it.
        """
        if has_free_port(address):
            return None
        digest = hashlib.sha256(address.encode()).hexdigest()[:16]
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(_folder() / f"{digest}.lock", flags, 0o600)
        except OSError as error:
            _log.warning("no lock file for %s, so nobody is told who holds it: %s", address, error)
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise AddressHeld(address, _told(holder)) from None
        about = {"pid": os.getpid(), "name": name, "since": time.strftime("%F %T")}
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(about).encode(), 0)
        return cls(address, descriptor)

    def release(self) -> None:
        """Let others claim it."""
        os.close(self._descriptor)


def _told(holder: bytes) -> str:
    try:
        about = json.loads(holder)
        return f"the sidecar {about['name']!r}, pid {about['pid']}, since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "another sidecar, which just starts"


def _folder() -> Path:
    """A folder of this user's alone.

    Raises:
        OSError: There is none.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime and os.path.isdir(runtime) else Path(tempfile.gettempdir())
    folder = base / f"amzmq-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "not this user's own folder", str(folder))
    return folder
