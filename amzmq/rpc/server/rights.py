"""What each user may do: a policy in TOML or as a mapping, compiled for each machine into masks.

    [operator]                   # a user, by the name that comes from its key
    machines = ["door*"]         # globs of machine ids; default: all
    read = true                  # true, false, or globs of states; default: true
    mutate = ["Open", "Close*"]  # the same; default: false
    kinds = ["add", "remove"]    # of mutations, also "set"; default: all three
    payload = true               # may receive payloads, and have them sent; default: true
    schema = true                # may be told relations and properties; default: true
    admin = false                # is let in when others are too many; default: false

    [reader]                     # nothing said: everything may be read, nothing changed

    ["*"]                        # every user without a table; without this one they get nothing
    read = ["Ready"]

What they mean, and what asks for them:

- read: The states are streamed, listed with the machine, and may be waited for at the source.
  Whoever may not read all states ("*") gets no schema, as that names them all, and no state that
  the machine gets later.
- mutate, kinds: Add, remove or set the states. One that is not readable cannot be named.
- payload: Receive payloads, and fetch blobs; call the state by which the source sends payloads, if
  that may be mutated as well.
- schema: Without it, the names of the states are told, and not their relations and properties.
- admin: `Limits.admins` more clients are let in than `Limits.clients`, to see what the others do;
  and a machine of which nothing may be read is listed all the same.

Pure logic: it decides and does nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from amzmq.errors import RpcError
from amzmq.machine.resolver import MutationType

ANY_USER = "*"
"""The table of every user that has none of its own."""

_Signature: TypeAlias = "tuple[int, int, int, int] | None"

_ALL = ("*",)
_KINDS = {str(kind): kind for kind in (MutationType.ADD, MutationType.REMOVE, MutationType.SET)}


class PolicyInvalid(RpcError):
    """A policy cannot be read; whatever was in force stays so.

    Args:
        where: The file and the place in it, as ``rights.toml: operator.kinds[1]``.
        reason: What is wrong, and what would be right.
    """

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        super().__init__(f"{where}: {reason}")


@dataclass(frozen=True, slots=True)
class MachineRights:
    """What a user may do with one machine.

    Attributes:
        readable: Mask of the states that may be seen, by index.
        mutable: Mask of the states that may be called in mutations.
        every: Mask of all states.
        kinds: The kinds of mutation that are allowed.
        payload: Whether payloads may be received.
        schema: Whether the schema may be told.
        admin: Whether the user is let in when others are too many.
        reads_later: Whether states that the machine gets later may be seen, whatever their names.
    """

    readable: int
    mutable: int
    every: int
    kinds: frozenset[MutationType]
    payload: bool
    schema: bool
    admin: bool
    reads_later: bool

    @property
    def nothing(self) -> bool:
        """Whether the machine is to look as if it were not there."""
        return not (self.readable or self.mutable or self.admin)

    def may_read(self, states: int) -> bool:
        """Whether all states of a mask may be seen."""
        return states & ~self.readable == 0

    def may_mutate(self, kind: int, called: int) -> bool:
        """Whether a mutation may be run.

        What follows from it by relations and auto states is the machine's affair: who may add a
        state may also cause what adding it causes.

        Args:
            kind: A `MutationType`. `SET` ends whatever is not called, so it needs the right to
                every state.
            called: Mask of the called states; see `mask_of`.
        """
        if kind not in self.kinds or not self.mutable:
            return False
        touched = self.every | called if kind == MutationType.SET else called
        return touched & ~self.mutable == 0

    def visible(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of the machine's states that may be seen, in its order.

        Args:
            names: All of them, as given to `Rights.on`.
        """
        return tuple([name for at, name in enumerate(names) if self.readable >> at & 1])


@dataclass(frozen=True, slots=True)
class Rights:
    """What a user may do; equal ones allow the same.

    Attributes:
        machines: Globs of machine ids.
        read: Globs of states that may be seen.
        mutate: Globs of states that may be called in mutations.
        kinds: The kinds of mutation that are allowed.
        payload: Whether payloads may be received.
        schema: Whether schemas may be told.
        admin: Whether the user is let in when others are too many.
    """

    machines: tuple[str, ...] = _ALL
    read: tuple[str, ...] = _ALL
    mutate: tuple[str, ...] = ()
    kinds: frozenset[MutationType] = frozenset(_KINDS.values())
    payload: bool = True
    schema: bool = True
    admin: bool = False

    def on(self, machine_id: str, names: Sequence[str]) -> MachineRights:
        """Compiles the rights for one machine.

        Args:
            machine_id: Its id.
            names: Its states, in order.
        """
        rights = self if self.concern(machine_id) else NOTHING
        return MachineRights(
            readable=_mask(names, rights.read),
            mutable=_mask(names, rights.mutate),
            every=(1 << len(names)) - 1,
            kinds=rights.kinds,
            payload=rights.payload,
            schema=rights.schema,
            admin=rights.admin,
            reads_later="*" in rights.read,
        )

    def concern(self, machine_id: str) -> bool:
        """Whether they say anything of a machine."""
        return _matches(machine_id, self.machines)


READ_ONLY = Rights()
"""Sees everything and changes nothing."""

NOTHING = Rights((), (), (), frozenset(), payload=False, schema=False)
"""May do nothing at all."""

EVERYTHING = Rights(mutate=_ALL, admin=True)
"""May do all there is; for a source without a policy."""


class Policy:
    """The rights of all users.

    Args:
        tables: User to what stands in its table.

    Raises:
        PolicyInvalid: Something in it has no meaning.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, object]]) -> None:
        self._path: Path | None = None
        self._signature: _Signature = None
        self._rights = _parse(tables, "policy")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Reads a policy from a TOML file.

        Raises:
            PolicyInvalid: It cannot be read, or something in it has no meaning.
        """
        policy = cls({})
        policy._path = Path(path)
        policy._signature = _signature(policy._path)
        policy._rights = _read(policy._path)
        return policy

    def of(self, user: str) -> Rights:
        """The rights of a user; "", who has proved nothing, has none.

        Args:
            user: The name that comes from its key.
        """
        if not user or user == ANY_USER:
            return NOTHING
        return self._rights.get(user) or self._rights.get(ANY_USER, NOTHING)

    def reload(self) -> bool:
        """Reads the file again if it changed; whether anybody's rights did.

        Rights compiled before stay what they are: compare `of` with what they were made from.

        Raises:
            PolicyInvalid: It cannot be used. The rights stay, and it is told once a change.
        """
        if self._path is None:
            return False
        signature = _signature(self._path)
        if signature == self._signature:
            return False
        self._signature = signature
        rights = _read(self._path)
        changed = rights != self._rights
        self._rights = rights
        return changed


def mask_of(indexes: Iterable[int]) -> int:
    """The mask of some states.

    Args:
        indexes: Of the states, none of them negative.
    """
    mask = 0
    for index in indexes:
        mask |= 1 << index
    return mask


def _mask(names: Sequence[str], globs: Sequence[str]) -> int:
    return mask_of(at for at, name in enumerate(names) if _matches(name, globs))


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _signature(path: Path) -> _Signature:
    """What changes whenever the file does; None while there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _read(path: Path) -> dict[str, Rights]:
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PolicyInvalid(str(path), f"{reason}; name a TOML file of rights") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyInvalid(str(path), f"no TOML: {error}") from None
    return _parse(tables, str(path))


def _parse(tables: Mapping[str, object], source: str) -> dict[str, Rights]:
    rights: dict[str, Rights] = {}
    for user, table in tables.items():
        where = f"{source}: {user or repr(user)}"
        if not isinstance(user, str) or not user:
            raise PolicyInvalid(where, "the name of a user, or '*', expected")
        if not isinstance(table, Mapping):
            raise PolicyInvalid(where, f"{table!r} is no table; begin one with [{user}]")
        rights[user] = _parse_table(table, where)
    return rights


def _parse_table(table: Mapping[str, object], where: str) -> Rights:
    known = [field.name for field in fields(Rights)]
    for key in table:
        if key not in known:
            raise PolicyInvalid(f"{where}.{key}", f"unknown; there are {' '.join(known)}")

    return Rights(
        machines=_globs(table.get("machines", True), f"{where}.machines"),
        read=_globs(table.get("read", True), f"{where}.read"),
        mutate=_globs(table.get("mutate", False), f"{where}.mutate"),
        kinds=_kinds(table.get("kinds", list(_KINDS)), f"{where}.kinds"),
        payload=_flag(table.get("payload", True), f"{where}.payload"),
        schema=_flag(table.get("schema", True), f"{where}.schema"),
        admin=_flag(table.get("admin", False), f"{where}.admin"),
    )


def _globs(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, bool):
        return _ALL if value else ()
    return tuple(_texts(value, where, "true, false, or a list of globs"))


def _kinds(value: object, where: str) -> frozenset[MutationType]:
    texts = _texts(value, where, f"a list of {' '.join(_KINDS)}")
    for at, text in enumerate(texts):
        if text not in _KINDS:
            raise PolicyInvalid(f"{where}[{at}]", f"{text!r} is none of {' '.join(_KINDS)}")
    return frozenset(_KINDS[text] for text in texts)


def _texts(value: object, where: str, expected: str) -> list[str]:
    if not isinstance(value, list | tuple):
        raise PolicyInvalid(where, f"{value!r}, but {expected} expected")
    for at, text in enumerate(value):
        if not isinstance(text, str) or not text:
            raise PolicyInvalid(f"{where}[{at}]", f"{text!r} is no text")
    return list(value)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise PolicyInvalid(where, f"{value!r}, but true or false expected")
    return value
