"""Filling dataclasses from tables of TOML: nothing is guessed, every mistake is told at once."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from amzmq.errors import AmzmqError, InvalidArgs

_T = TypeVar("_T")

_SHOWN = 60
_MISSING = object()
_NO_RULES: Mapping[str, Any] = types.MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a configuration.

    Attributes:
        path: Where, e.g. ``jobs.web.ready.tcp``, or the name of the file, variable or flag.
        value: What stands there, as it is shown.
        remedy: What to do.
    """

    path: str
    value: str
    remedy: str

    def __str__(self) -> str:
        given = f" = {self.value}" if self.value else ""
        return f"{self.path}{given}: {self.remedy}"


class ConfigInvalid(AmzmqError):
    """A configuration that cannot be run; one line for each mistake.

    Args:
        mistakes: All that were found, at least one.
    """

    def __init__(self, *mistakes: Mistake) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(map(str, mistakes)))


def shown(value: object) -> str:
    """A value as a mistake shows it: as TOML has it, and not too long."""
    if isinstance(value, bool):
        return str(value).lower()
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


class StrictReader:
    """Reads tables, and collects what is wrong with them.

    Attributes:
        mistakes: What is wrong so far.
    """

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def wrong(self, path: str, value: object, remedy: str) -> None:
        """Take down a mistake; `MISSING` values are not shown."""
        self.mistakes.append(Mistake(path, "" if value is _MISSING else shown(value), remedy))

    def missing(self, path: str, remedy: str) -> None:
        """Take down that something is not there."""
        self.wrong(path, _MISSING, remedy)

    def table(self, kind: Callable[..., _T], value: object, path: str) -> _T | None:
        """A dataclass from a table; None if anything in it is wrong."""
        if not isinstance(value, Mapping):
            self.wrong(path, value, f"write it as a table, [{path}]")
            return None
        fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
        hints = typing.get_type_hints(kind)
        before = len(self.mistakes)
        self.known_keys(value, fields, path)
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in value:
                at = join(path, name)
                values[name] = self.value(hints[name], value[name], at, field.metadata)
            elif field.default is field.default_factory is dataclasses.MISSING:
                self.missing(join(path, name), f"it is required; add {name} to [{path}]")
        return self._made(kind, values, path) if len(self.mistakes) == before else None

    def _made(self, kind: Callable[..., _T], values: dict[str, Any], path: str) -> _T | None:
        """A dataclass that may look at its values itself; each by itself, to tell which is it."""
        try:
            return kind(**values)
        except InvalidArgs:
            for name, value in values.items():
                try:
                    kind(**{name: value})
                except InvalidArgs as error:
                    _, _, remedy = str(error).rpartition("; ")
                    self.wrong(join(path, name), value, remedy)
            return None

    def known_keys(self, table: Mapping[str, object], known: typing.Iterable[str], at: str) -> None:
        """Take down every key that means nothing here."""
        names = list(known)
        for key in table:
            if key not in names:
                near = difflib.get_close_matches(key, names, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                self.wrong(
                    join(at, key), table[key], f"unknown key; {hint}known are: {' '.join(names)}"
                )

    def value(
        self, hint: Any, value: object, path: str, rules: Mapping[str, Any] = _NO_RULES
    ) -> object:
        """A value of the type that is wanted; None if it is not.

        Args:
            hint: The type.
            value: What stands there.
            path: Where.
            rules: ``check`` for the value, or each value of a list or table; ``filled`` if a
                list must not be empty.
        """
        if dataclasses.is_dataclass(hint):
            return self.table(typing.cast(Any, hint), value, path)
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin is types.UnionType:
            return self.value(inner[0], value, path, rules)  # X | None, and TOML has no None
        if origin is tuple:
            return self._list(inner[0], value, path, rules)
        if origin is dict:
            return self._mapping(inner[1], value, path, rules)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self._choice(hint, value, path)
        return self._plain(hint, value, path, rules.get("check"))

    def _plain(self, hint: Any, value: object, path: str, check: Any) -> object:
        # In Python true is an int, and in a configuration it is a mistake.
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if hint is float and is_number:
            value = float(typing.cast(float, value))
        elif type(value) is not hint:
            wanted = {str: "text in quotes", bool: "true or false", int: "a whole number"}
            self.wrong(path, value, f"write {wanted.get(hint, 'a number')}")
            return None
        if remedy := check(value) if check else "":
            self.wrong(path, value, remedy)
        return value

    def _choice(self, hint: type[enum.Enum], value: object, path: str) -> object:
        for member in hint:
            if member.value == value:
                return member
        choices = " ".join(repr(member.value) for member in hint)
        self.wrong(path, value, f"write one of {choices}")
        return None

    def _list(self, hint: Any, value: object, path: str, rules: Mapping[str, Any]) -> object:
        if not isinstance(value, list):
            self.wrong(path, value, 'write a list, ["...", "..."]')
            return None
        if rules.get("filled") and not value:
            self.wrong(path, value, "it must not be empty")
        return tuple(
            self.value(hint, item, f"{path}[{at}]", rules) for at, item in enumerate(value)
        )

    def _mapping(self, hint: Any, value: object, path: str, rules: Mapping[str, Any]) -> object:
        if not isinstance(value, Mapping):
            self.wrong(path, value, f"write it as a table, [{path}]")
            return None
        return {k: self.value(hint, item, join(path, k), rules) for k, item in value.items()}


def join(path: str, key: str) -> str:
    """The path of a key in a table; "" is the top."""
    return f"{path}.{key}" if path else key
