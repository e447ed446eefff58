"""The arguments of mutations: plain keywords, a mapping, or a dataclass of the user's.

A dataclass is turned into a mapping of its fields, so that handlers, waits and the network all
see the same thing; `parse_args` makes the object again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, TypeVar

from amzmq.errors import InvalidArgs
from amzmq.machine.mutation import NO_ARGS
from amzmq.machine.wait import Wait

if TYPE_CHECKING:
    from dataclasses import Field

EXCEPTION_ARGS = "_am__Exception"
"""Key of the `ExceptionArgs` in the arguments of an error (spec machine 7)."""

CHECK_ARGS = "_am__Any"
"""Key of the `CheckArgs` in the arguments of a dry run (spec machine 3.7)."""


class DataclassArgs(Protocol):
    """Any object of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[object]]]


Args: TypeAlias = Mapping[str, object] | DataclassArgs
"""What a mutation takes as ``args=``."""

T = TypeVar("T")


class HasArgs(Protocol):
    """An event, as far as its arguments go."""

    args: Mapping[str, object]


class ExceptionArgs:
    """The typed arguments of an error.

    Attributes:
        err: The error.
        trace: Its formatted traceback, or "".
        called: States that were called when a handler raised it; () otherwise.
        before: States active before that transition.
        target: What it led to, when a handler passed the deadline; () otherwise.
    """

    __slots__ = ("before", "called", "err", "target", "trace")

    def __init__(
        self,
        err: BaseException,
        trace: str = "",
        called: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
        target: tuple[str, ...] = (),
    ) -> None:
        self.err = err
        self.target = target
        self.trace = trace
        self.called = called
        self.before = before

    def __repr__(self) -> str:
        return f"ExceptionArgs({self.err!r})"


class CheckArgs:
    """Tells the outcome of a dry run that had to be queued.

    Pass it to `can_add` or `can_remove` under the key `CHECK_ARGS`.

    Attributes:
        done: Released once the check has run, or the machine is disposed.
        canceled: Whether the mutation would be refused; read it when `done` is.
    """

    __slots__ = ("canceled", "done")

    def __init__(self) -> None:
        self.done = Wait()
        self.canceled = False

    def complete(self, canceled: bool) -> None:
        """The check has run."""
        self.canceled = canceled
        self.done.release()


def merged(args: Args | None, keywords: Mapping[str, object]) -> Mapping[str, object]:
    """The two ways to give arguments as one mapping; a keyword wins.

    Raises:
        InvalidArgs: `args` is neither a mapping nor a dataclass object.
    """
    if args is None:
        return keywords or NO_ARGS
    if isinstance(args, Mapping):
        return {**args, **keywords}
    if dataclasses.is_dataclass(args) and not isinstance(args, type):
        fields = {field.name: getattr(args, field.name) for field in dataclasses.fields(args)}
        return {**fields, **keywords}
    raise InvalidArgs(
        f"args={args!r}: give a mapping like {{'user': 42}}, an object of a dataclass, or keywords"
    )


def parse_args(kind: type[T], source: HasArgs | Mapping[str, object]) -> T:
    """An object of a dataclass from an event's arguments; those of other names are left out.

    Raises:
        InvalidArgs: `kind` is no dataclass, or a field without a default has no argument.

    >>> @dataclasses.dataclass
    ... class Login:
    ...     user: str
    ...     admin: bool = False
    >>> parse_args(Login, {"user": "ann", "other": 1})
    Login(user='ann', admin=False)
    """
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InvalidArgs(f"parse_args({kind!r}): give a dataclass")
    args = source if isinstance(source, Mapping) else source.args
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    try:
        return kind(**{name: args[name] for name in names if name in args})
    except TypeError as error:
        raise InvalidArgs(f"args={sorted(args)} do not make a {kind.__name__}: {error}") from error
