"""The demo's input: a real directory, listed and hashed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sysconfig
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

NOT_THE_LIBRARY = frozenset({"site-packages", "dist-packages", "__pycache__"})
"""Folders in the standard library's folder that are not part of it."""


class FileRead(NamedTuple):
    """A file that was read to its end.

    Attributes:
        path: Relative to the directory, as text in any case.
        size: Bytes.
        digest: SHA-256 of them.
    """

    path: str
    size: int
    digest: bytes


def standard_library() -> Path:
    """The folder of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def list_files(root: Path, skip: Collection[str] = ()) -> tuple[list[str], list[OSError]]:
    """Everything under `root` that is no folder, as relative paths, in order.

    Links to folders are not followed, so the list has an end.

    Args:
        root: Where to begin.
        skip: Names of folders that are left out.

    Returns:
        The paths, and an error for each folder that could not be listed.
    """
    errors: list[OSError] = []
    found: list[str] = []
    for folder, subfolders, names in os.walk(root, onerror=errors.append):
        subfolders[:] = sorted(name for name in subfolders if name not in skip)
        found += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(names)]
    return found, errors


def read_file(root: Path, path: str) -> FileRead:
    """Read and hash one file.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    # Opening a pipe would wait for its writer; with this flag it does not, and is then refused.
    with open(os.open(root / path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(root / path))
        digest = hashlib.file_digest(file, "sha256").digest()
        size = file.tell()
    # A name need not be text; what travels has to be.
    return FileRead(os.fsencode(path).decode(errors="replace"), size, digest)


def read_files(root: Path, paths: Iterable[str]) -> list[FileRead | OSError]:
    """Read and hash several files; an error stands in the place of one that cannot be read."""
    return [_read_or_error(root, path) for path in paths]


def _read_or_error(root: Path, path: str) -> FileRead | OSError:
    try:
        return read_file(root, path)
    except OSError as error:
        return error
