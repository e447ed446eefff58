"""Keys as files, made the way that users make them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from amzmq.net.keys import Keys


@dataclass(frozen=True, slots=True)
class Keyring:
    """A source's keys, and those of a client that it knows and of one that it does not.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    @staticmethod
    def made(folder: Path) -> Keyring:
        (folder / "clients").mkdir(parents=True)
        for name in ("door", "clients/ann", "eve"):
            Keys.generate().save(folder / f"{name}.key")
        return Keyring(folder)

    def __truediv__(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def lock(self) -> tuple[str, ...]:
        """What serves behind these keys."""
        return ("--bind-key", self / "door.key", "--clients", self / "clients")

    @property
    def ann(self) -> tuple[str, ...]:
        """What gets in."""
        return ("--server-key", self / "door.pub", "--key", self / "clients/ann.key")

    @property
    def eve(self) -> tuple[str, ...]:
        """What knows where to go, and is not known there."""
        return ("--server-key", self / "door.pub", "--key", self / "eve.key")
