"""Who may connect: public keys, and the names of the users that hold them.

An `Authenticator` is pure policy and knows no sockets. `amzmq.net.zap` asks it about every new
connection, `amzmq.net.gate` about those that are there whenever its answers may have changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from amzmq.errors import AmzmqError
from amzmq.net.keys import PUBLIC_SUFFIX, KeyFileError, PathLike, public_key
from amzmq.net.log import log

NOBODY = ""
"""The user of a connection without a key, and of a key that may not connect."""

# Names of users appear in policies, logs and metrics; "*" and "?" would be patterns there.
_NAME = re.compile(r"[\w.@+-]{1,128}", re.ASCII)


@runtime_checkable
class Authenticator(Protocol):
    """Knows the users. It is asked on the event loop, so it must not wait for anything."""

    def user(self, key: str) -> str:
        """Names the user that holds a public key (Z85); `NOBODY` refuses the connection."""

    def reload(self) -> bool:
        """Looks for news; whether `user` may answer differently since the last time."""


KeyFn: TypeAlias = Callable[[str], "bool | str"]
"""Says whether a public key (Z85) may connect, or names its user; "" and False refuse it."""

AuthenticatorLike: TypeAlias = "Authenticator | KeyFn | PathLike"


class KeyDirectory:
    """Lets in whoever holds the key of a ``*.pub`` file in a directory; its user is the stem.

    The directory is looked at again while it is in use: a file that is added lets its user in, one
    that is removed, or is no key any more, shuts its user out. While the directory itself cannot
    be read, the last answers stay.

    Args:
        path: The directory.

    Raises:
        KeyFileError: It cannot be read, or a file in it cannot.
        KeyInvalid: A file in it holds no key.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._signature = self._look()
        self._readable = True
        self._users = self._read(strict=True)

    def user(self, key: str) -> str:
        """Names the user that holds a public key."""
        return self._users.get(key, NOBODY)

    def reload(self) -> bool:
        """Reads the files again if any changed; what cannot be read is logged and left out."""
        try:
            signature = self._look()
        except KeyFileError as error:
            if self._readable:
                log.error("keys: %s; those known so far stay", error)
            self._readable = False
            return False
        self._readable = True
        if signature == self._signature:
            return False
        self._signature = signature
        users = self._read(strict=False)
        changed = users != self._users
        self._users = users
        return changed

    def _look(self) -> frozenset[tuple[str, int, int, int]]:
        """What changes whenever a file of ours does."""
        try:
            with os.scandir(self.path) as entries:
                return frozenset(
                    (entry.name, about.st_ino, about.st_mtime_ns, about.st_ctime_ns)
                    for entry in entries
                    if entry.name.endswith(PUBLIC_SUFFIX) and (about := _about(entry)) is not None
                )
        except OSError as error:
            raise KeyFileError(
                self.path,
                error.strerror or str(error),
                "name a directory with the *.pub files of those who may connect",
            ) from None

    def _read(self, strict: bool) -> dict[str, str]:
        users: dict[str, str] = {}
        for name, *_ in sorted(self._signature):
            try:
                key, user = self._read_one(name)
                if key in users:
                    raise KeyFileError(
                        self.path / name, f"the key of user {users[key]!r}", "remove one of the two"
                    )
                users[key] = user
            except AmzmqError as error:
                if strict:
                    raise
                log.warning("keys: left out: %s", error)
        return users

    def _read_one(self, name: str) -> tuple[str, str]:
        user = name.removesuffix(PUBLIC_SUFFIX)
        if not _NAME.fullmatch(user):
            raise KeyFileError(
                self.path / name,
                f"{user!r} is no user name",
                "rename it; letters, digits and . @ + - _ are fine",
            )
        return public_key(self.path / name), user


class KeyCallback:
    """Lets in whom a function lets in.

    Args:
        ask: Gets a public key in Z85. True lets it in under its key as the name, a text under
            that name; anything else, or an exception, refuses it.
    """

    def __init__(self, ask: KeyFn) -> None:
        self._ask = ask
        self._changed = False

    def user(self, key: str) -> str:
        """Names the user that holds a public key."""
        try:
            answer = self._ask(key)
        except Exception:
            log.exception("keys: the callback raised, so key %s is refused", key)
            return NOBODY
        if answer is True:
            return key
        if answer is False or answer == NOBODY:
            return NOBODY
        if isinstance(answer, str) and _NAME.fullmatch(answer):
            return answer
        log.error("keys: key %s is refused, as %r is no user name", key, answer)
        return NOBODY

    def changed(self) -> None:
        """Says that the function answers differently now: all who are connected are asked about.

        From any thread; it takes effect within `SocketOptions.recheck_ms`.
        """
        self._changed = True

    def reload(self) -> bool:
        """Whether `changed` was called since the last time."""
        changed, self._changed = self._changed, False
        return changed


class AnyKey:
    """Lets in everybody who knows the source's public key; the user is the peer's own key.

    What travels is encrypted, and nobody can pretend to be the source; who the peers are stays
    open.
    """

    def user(self, key: str) -> str:
        """The key itself."""
        return key

    def reload(self) -> bool:
        """Never any news."""
        return False


def authenticator_of(source: AuthenticatorLike) -> Authenticator:
    """Makes an authenticator of a directory's path or a function; one that is one stays.

    Raises:
        KeyFileError: The directory, or a file in it, cannot be read.
        KeyInvalid: A file in it holds no key.
    """
    if isinstance(source, str | os.PathLike):
        return KeyDirectory(source)
    if isinstance(source, Authenticator):
        return source
    return KeyCallback(source)


def _about(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:
        return None  # removed since it was listed, or a link to what is not there yet
