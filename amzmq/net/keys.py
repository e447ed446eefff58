"""CURVE keys, and the files they are kept in.

A pair of keys is two files: ``NAME.key`` with the secret key, for its owner's eyes only, and
``NAME.pub`` with the public one, to be handed out. Each holds one key in Z85 (40 characters of
text); empty lines and comments, which begin with ``#``, are ignored; no key begins so. The public
key is computed from the secret one, so the two files cannot disagree.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import zmq
from zmq.utils import z85

from amzmq.errors import NetError

PathLike: TypeAlias = "str | os.PathLike[str]"

KEY_CHARS = 40
"""Characters of a key in Z85."""

SECRET_SUFFIX = ".key"  # nosec B105  # a file name
PUBLIC_SUFFIX = ".pub"

# A key file is one line; whatever is longer is some other file.
_FILE_LIMIT = 4096
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class KeyInvalid(NetError):
    """Something that is to be a key is none.

    Args:
        what: Where it was found; never the key itself, which may be a secret.
        reason: What is wrong with it.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what}: {reason}; a key is {KEY_CHARS} characters of Z85, made by `amzmq keygen`"
        )


class KeyFileError(NetError):
    """A key's file cannot be read, must not be, or cannot be written.

    Args:
        path: The file.
        reason: Why not.
        remedy: What to do about it.
    """

    def __init__(self, path: PathLike, reason: str, remedy: str) -> None:
        self.path = Path(path)
        super().__init__(f"key file {os.fspath(path)!r}: {reason}; {remedy}")


@dataclass(frozen=True, slots=True)
class Keys:
    """A pair of CURVE keys, in Z85.

    Attributes:
        public: Tells others who this is; not a secret.
        secret: Proves it; left out of the repr.

    Raises:
        KeyInvalid: One is no key, or they do not belong together.
    """

    public: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        check_key(self.public, "the public key")
        if _public_of(self.secret, "the secret key") != self.public:
            raise KeyInvalid("the public key", "it does not belong to the secret key")

    @classmethod
    def generate(cls) -> Keys:
        """Makes a new random pair.

        Raises:
            NetError: This libzmq was built without CURVE.
        """
        _check_curve()
        public, secret = zmq.curve_keypair()
        return cls(public.decode("ascii"), secret.decode("ascii"))

    @classmethod
    def load(cls, path: PathLike) -> Keys:
        """Reads a secret key's file.

        Raises:
            KeyFileError: It cannot be read, or others than its owner can.
            KeyInvalid: What it holds is no key.
        """
        secret = _read(path, private=True)
        return cls(_public_of(secret, f"key file {os.fspath(path)!r}"), secret)

    def save(self, path: PathLike) -> Path:
        """Writes the secret key to `path`, readable by its owner alone, and the public one beside.

        Args:
            path: A file that does not exist yet, ending in ``.key``.

        Returns:
            The public key's file: the same name, ending in ``.pub``.

        Raises:
            KeyFileError: A file is there already or cannot be written; then neither is left.
        """
        private = Path(path)
        if private.suffix != SECRET_SUFFIX:
            raise KeyFileError(
                path,
                "the name of a secret key ends in .key",
                f"use {private.name + SECRET_SUFFIX!r}",
            )
        public = private.with_suffix(PUBLIC_SUFFIX)
        _write(public, self.public, 0o644)
        try:
            _write(private, self.secret, 0o600)
        except KeyFileError:
            public.unlink()
            raise
        return public


def public_key(key: bytes | PathLike) -> str:
    """A public key in Z85, from whatever form it is given in.

    Args:
        key: 32 raw bytes, Z85 as bytes or text, or the path of a file with it. Text counts as
            Z85 when it can be, unless it ends in ``.pub``.

    Raises:
        KeyFileError: The file cannot be read.
        KeyInvalid: It is no key.
    """
    if isinstance(key, bytes):
        if len(key) == 32:
            return z85.encode(key).decode("ascii")
        return check_key(key.decode("ascii", "replace"), "a public key given as bytes")
    if isinstance(key, str) and _Z85.fullmatch(key) and not key.endswith(PUBLIC_SUFFIX):
        return check_key(key, "a public key given as text")
    return check_key(_read(key, private=False), f"key file {os.fspath(key)!r}")


def check_key(key: str, what: str) -> str:
    """Returns `key` if it is Z85 of 32 bytes.

    Raises:
        KeyInvalid: It is not; the message names `what`.
    """
    if not _Z85.fullmatch(key):
        raise KeyInvalid(what, "not a key")
    try:
        z85.decode(key)
    except struct.error:  # five characters can say more than the four bytes they stand for
        raise KeyInvalid(what, "not a key") from None
    return key


def _public_of(secret: str, what: str) -> str:
    _check_curve()
    return zmq.curve_public(check_key(secret, what).encode("ascii")).decode("ascii")


def _check_curve() -> None:
    if not zmq.has("curve"):
        raise NetError(
            "this libzmq was built without CURVE; install a pyzmq that has it, as its wheels do"
        )


def _read(path: PathLike, private: bool) -> str:
    """The key in a file."""
    try:
        # O_NONBLOCK: a named pipe in the place of a key must not stop the program.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(
            path, error.strerror or str(error), "make it with `amzmq keygen`, or mend the path"
        ) from None
    except ValueError as error:  # a zero byte, or what is no text
        raise KeyFileError(path, str(error), "mend the path") from None
    try:
        # Asked of what was opened: the path may lead elsewhere by now.
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise KeyFileError(path, "not a file", "name the key's file")
        if private and about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyFileError(
                path,
                f"others may use it (mode {stat.S_IMODE(about.st_mode):04o})",
                f"run `chmod 600 {os.fspath(path)}`, and make a new key if anybody did",
            )
        text = os.read(descriptor, _FILE_LIMIT).decode("ascii", "replace")
    except OSError as error:
        raise KeyFileError(path, error.strerror or str(error), "mend the disk") from None
    finally:
        os.close(descriptor)
    # Z85 has a "#", but its value is more than the first character of any four bytes can have.
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if len(keys) != 1:
        raise KeyInvalid(f"key file {os.fspath(path)!r}", f"{len(keys)} lines instead of one key")
    return keys[0]


def _write(path: Path, key: str, mode: int) -> None:
    """Makes a new file with a key; nobody else could read it at any moment."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise KeyFileError(
            path, "it exists", "choose another name, or remove it if no one uses it any more"
        ) from None
    except OSError as error:
        raise KeyFileError(path, error.strerror or str(error), "choose another place") from None
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
    except OSError as error:
        path.unlink()
        raise KeyFileError(path, error.strerror or str(error), "choose another place") from None
