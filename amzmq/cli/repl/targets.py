"""What a REPL is pointed at: an address, a file with addresses, or a folder of such files."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amzmq.errors import AmzmqError
from amzmq.rpc.repl import ADDR_SUFFIX

_log = logging.getLogger("amzmq.repl")


class TargetInvalid(AmzmqError):
    """What the user named is neither an address nor a file or folder with one."""


class TargetKind(enum.Enum):
    """Where the addresses come from."""

    ADDR = "an address"
    FILE = "a file"
    DIR = "a folder"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look for machines.

    Attributes:
        kind: What `text` is.
        text: The address or the path.
    """

    kind: TargetKind
    text: str

    def addresses(self) -> list[str]:
        """The addresses there at present, each once.

        Raises:
            TargetInvalid: The file or folder cannot be read.
        """
        try:
            if self.kind is TargetKind.ADDR:
                found = [self.text]
            elif self.kind is TargetKind.FILE:
                found = _lines(Path(self.text))
            else:
                files = sorted(Path(self.text).rglob(f"*{ADDR_SUFFIX}"))
                found = [addr for file in files for addr in _lines_if_there(file)]
        except (OSError, UnicodeDecodeError) as error:
            raise TargetInvalid(f"{self.text!r} cannot be read: {error}") from error
        return list(dict.fromkeys(map(endpoint, found)))


def parse_target(text: str, kind: TargetKind | None = None) -> Target:
    """The target that `text` names; without `kind`, what it looks like.

    Raises:
        TargetInvalid: There is no such file or folder, and it is no address either.
    """
    path = Path(text)
    if kind is TargetKind.FILE and not path.is_file():
        raise TargetInvalid(f"{text!r} is no file; give one with an address in it")
    if kind is TargetKind.DIR and not path.is_dir():
        raise TargetInvalid(f"{text!r} is no folder; give one with *{ADDR_SUFFIX} files in it")
    if kind is not None:
        return Target(kind, text)
    if "://" in text:
        return Target(TargetKind.ADDR, text)
    if path.is_dir():
        return Target(TargetKind.DIR, text)
    if path.is_file():
        return Target(TargetKind.FILE, text)
    if text.rpartition(":")[0] and text.rpartition(":")[2].isdigit():
        return Target(TargetKind.ADDR, endpoint(text))
    raise TargetInvalid(
        f"{text!r} is no address, file or folder; e.g. tcp://127.0.0.1:7701, or the folder "
        f"that has the *{ADDR_SUFFIX} files"
    )


def endpoint(text: str) -> str:
    """An address with its transport, which is TCP unless it says otherwise.

    >>> endpoint("127.0.0.1:7701"), endpoint("ipc:///run/door")
    ('tcp://127.0.0.1:7701', 'ipc:///run/door')
    """
    return text if "://" in text else f"tcp://{text}"


async def watch(target: Target, changed: Callable[[list[str]], None], interval: float) -> None:
    """Tell of the addresses whenever they are others than before; goes on for ever.

    Args:
        target: A file or a folder; it may go and come back.
        changed: Gets all addresses of that time.
        interval: Seconds between two looks.
    """
    known: list[str] | None = None
    readable = True
    while True:
        try:
            found = await asyncio.to_thread(_present, target)
        except TargetInvalid as error:
            if readable:
                _log.warning("%s; what is known is kept", error)
            readable = False
        else:
            readable = True
            if found != known:
                known = found
                changed(found)
        await asyncio.sleep(interval)


def _present(target: Target) -> list[str]:
    """The addresses; none while the file or folder is away."""
    return target.addresses() if Path(target.text).exists() else []


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _lines_if_there(path: Path) -> list[str]:
    """Lines of a file that may be removed by its owner just now."""
    try:
        return _lines(path)
    except FileNotFoundError:
        return []
