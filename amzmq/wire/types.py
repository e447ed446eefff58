"""Types that travel besides msgpack's own, each registered on purpose under a tag.

On the wire such an object is one msgpack extension (`EXT_CODE`) whose payload is the array
``[tag, value]``; the value is made of msgpack's types and of registered ones again. Nothing is
ever unpickled, and no name from the wire is looked up anywhere but in the registry.

Built in: datetime, date, time, timedelta, Decimal, UUID, set and frozenset. Each arrives as it
was: what would lose something on the way is refused when it is sent.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import inspect
import logging
import threading
import uuid
from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast, overload

import msgpack

from amzmq.errors import InvalidArgs

_log = logging.getLogger("amzmq.wire")

EXT_CODE = 1
"""The one extension code in use; all others belong to nobody."""

T = TypeVar("T")
V = TypeVar("V")

# msgpack writes these, and whatever inherits from them, without asking: a subclass would arrive
# as its base.
_NATIVE = (str, int, float, bytes, bytearray, list, tuple, dict, msgpack.Timestamp)

_WARNED_LIMIT = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Unregistered:
    """An object that arrived and cannot be made here; sent on, it is what it was.

    Attributes:
        tag: Of its type.
        value: What the sender's `encode` made of it.
        reason: Why: no such type is registered, or its `decode` failed.
    """

    tag: str
    value: object
    reason: str = dataclasses.field(default="no type of that tag is registered", compare=False)


class _Entry(NamedTuple):
    cls: type
    tag: str
    encode: Callable[[object], object]
    decode: Callable[[object], object]


class TypeRegistry:
    """Which classes travel, and how. Any thread may register and use it.

    Attributes:
        unknown: Objects that arrived with a tag that is not registered.
        failed: Objects that arrived and that their `decode` would not take.
    """

    def __init__(self) -> None:
        self.unknown = 0
        self.failed = 0
        self._lock = threading.Lock()
        # Readers take no lock, so an entry is complete before it can be found.
        self._by_class: dict[type, _Entry] = {}
        self._by_tag: dict[str, _Entry] = {}
        self._warned: set[str] = set()

    def __contains__(self, cls: type) -> bool:
        return cls in self._by_class or cls is Unregistered

    def register(
        self, cls: type[T], tag: str, encode: Callable[[T], V], decode: Callable[[V], T]
    ) -> None:
        """Let objects of exactly this class travel; as `register_type`."""
        if not isinstance(cls, type):
            raise InvalidArgs(f"register_type({cls!r}): give a class")
        if not isinstance(tag, str) or not tag:
            raise InvalidArgs(
                f"{cls.__qualname__}: tag={tag!r}; give a text that names the type on both sides"
            )
        if issubclass(cls, _NATIVE):
            raise InvalidArgs(
                f"{cls.__qualname__} inherits from a type that msgpack writes as its own, so it "
                "would arrive as that: make it a class that holds one instead"
            )
        entry = _Entry(
            cls,
            tag,
            cast(Callable[[object], object], encode),
            cast(Callable[[object], object], decode),
        )
        with self._lock:
            known = self._by_tag.get(tag)
            if known is not None and known.cls is not cls:
                raise InvalidArgs(
                    f"tag {tag!r} of {_full_name(cls)} is taken by {_full_name(known.cls)}; "
                    "choose another tag"
                )
            known = self._by_class.get(cls)
            if known is not None and known.tag != tag:
                raise InvalidArgs(
                    f"{_full_name(cls)} is registered already, as {known.tag!r}; a class has one "
                    f"tag, not {tag!r} as well"
                )
            self._by_tag[tag] = self._by_class[cls] = entry

    def encode(self, obj: object) -> tuple[str, object]:
        """The tag and the value of an object.

        Raises:
            TypeError: Its class is not registered, or its `encode` failed.
        """
        cls = type(obj)
        if cls is Unregistered:
            unmade = cast(Unregistered, obj)
            return unmade.tag, unmade.value
        entry = self._by_class.get(cls)
        if entry is None:
            raise TypeError(f"can not serialize {cls.__name__!r} object")
        try:
            return entry.tag, entry.encode(obj)
        except Exception as error:
            raise TypeError(
                f"the encode of {entry.tag!r} failed: {type(error).__name__}: {error}"
            ) from error

    def decode(self, tag: str, value: object) -> object:
        """The object of a tag and a value; an `Unregistered` when it cannot be made.

        Never an error: one message that cannot be taken would be a hole in the stream.
        """
        entry = self._by_tag.get(tag)
        if entry is None:
            self.unknown += 1
            unmade = Unregistered(tag, value)
        else:
            try:
                return entry.decode(value)
            except Exception as error:
                self.failed += 1
                unmade = Unregistered(tag, value, f"{type(error).__name__}: {error}")
        if tag not in self._warned and len(self._warned) < _WARNED_LIMIT:
            self._warned.add(tag)
            _log.warning("an object of type %.80r arrives as Unregistered: %s", tag, unmade.reason)
        return unmade


TYPES = TypeRegistry()
"""What this process registered."""


def register_type(
    cls: type[T], tag: str, encode: Callable[[T], V], decode: Callable[[V], T]
) -> None:
    """Let objects of a class travel, in the data of payloads and the arguments of mutations.

    Both sides register it. Only objects of exactly this class are meant: one of a subclass is
    refused until the subclass is registered too.

    Args:
        cls: The class.
        tag: Names the type on the wire; the same on both sides.
        encode: Makes a value of msgpack's types, or of registered ones, from an object. A tuple
            arrives as a list.
        decode: Makes an object from such a value. What raises arrives as `Unregistered`.

    Raises:
        InvalidArgs: The tag, or the class, is registered otherwise already; or the class
            inherits from one that msgpack writes by itself.

    >>> from ipaddress import IPv4Address
    >>> register_type(IPv4Address, "ipv4", str, IPv4Address)
    """
    TYPES.register(cls, tag, encode, decode)


@overload
def register_dataclass(cls: type[T], tag: str = "") -> type[T]: ...


@overload
def register_dataclass(
    cls: None = None, tag: str = ""
) -> Callable[[type[T]], type[T]]: ...  # fmt: skip


def register_dataclass(
    cls: type[T] | None = None, tag: str = ""
) -> type[T] | Callable[[type[T]], type[T]]:
    """Let objects of a dataclass travel, as a map of their fields; also as a decorator.

    The receiver makes the object by its constructor, so `__post_init__` runs. Fields that only
    the sender has are ignored, fields that only the receiver has need a default. A field that
    the constructor does not take (``init=False``) does not travel.

    Args:
        cls: The dataclass; left out in ``@register_dataclass(tag="order")``.
        tag: Names the type on the wire; the class's qualified name by default.

    Returns:
        The class.

    Raises:
        InvalidArgs: It is no dataclass, or its constructor takes what is no field (`InitVar`);
            or as `register_type`.

    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Price:
    ...     usd: float
    """
    if cls is None:
        return lambda cls: register_dataclass(cls, tag)
    kind: object = cls
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        raise InvalidArgs(
            f"register_dataclass({kind!r}): give a dataclass, or use register_type; a decorator "
            "stands above @dataclass"
        )
    names = tuple(field.name for field in dataclasses.fields(kind) if field.init)
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.name not in names:
            raise InvalidArgs(
                f"{cls.__qualname__}: its constructor takes {parameter}, which is no field of "
                "its objects; use register_type"
            )
    make: Callable[..., T] = cls
    known = frozenset(names)

    def encode(obj: T) -> dict[str, object]:
        return {name: getattr(obj, name) for name in names}

    def decode(value: dict[str, object]) -> T:
        return make(**{name: item for name, item in value.items() if name in known})

    TYPES.register(cls, tag or cls.__qualname__, encode, decode)
    return cls


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# The built-in ones.


def _moment_out(value: datetime.datetime | datetime.time) -> object:
    offset = value.utcoffset()
    if value.tzinfo is not None and offset is None:
        raise ValueError(f"{value!r} has a time zone without an offset, which would be lost")
    if offset is not None and offset.microseconds:  # CPython's fromisoformat drops some of them
        raise ValueError(f"{value!r} has an offset with a fraction of a second")
    text = value.isoformat()
    return [text, 1] if value.fold else text


def _datetime_in(value: object) -> datetime.datetime:
    text, fold = _folded(value)
    return datetime.datetime.fromisoformat(text).replace(fold=fold)


def _time_in(value: object) -> datetime.time:
    text, fold = _folded(value)
    return datetime.time.fromisoformat(text).replace(fold=fold)


def _folded(value: object) -> tuple[str, int]:
    if isinstance(value, list):
        text, fold = value
        return text, fold
    return cast(str, value), 0


def _timedelta_in(value: list[int]) -> datetime.timedelta:
    days, seconds, microseconds = value
    return datetime.timedelta(days, seconds, microseconds)


# What is equal and hashable again when it arrives: a tuple, for one, would be a list.
_ELEMENTS = frozenset(
    {
        *(str, int, float, bytes, bool, type(None), frozenset, decimal.Decimal, uuid.UUID),
        *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
    }
)


def _set_out(value: set[object] | frozenset[object]) -> list[object]:
    for item in value:
        if type(item) not in _ELEMENTS:
            raise ValueError(f"{item!r:.80} of type {type(item).__name__} cannot be in a set")
    return list(value)


def _frozenset_in(value: list[object]) -> frozenset[object]:
    made = frozenset(value)
    if len(made) != len(value):
        raise ValueError(f"{len(value)} elements, {len(made)} of them different")
    return made


def _set_in(value: list[object]) -> set[object]:
    return set(_frozenset_in(value))


TYPES.register(datetime.datetime, "datetime", _moment_out, _datetime_in)
TYPES.register(datetime.time, "time", _moment_out, _time_in)
TYPES.register(datetime.date, "date", datetime.date.isoformat, datetime.date.fromisoformat)
TYPES.register(
    datetime.timedelta, "timedelta", lambda d: [d.days, d.seconds, d.microseconds], _timedelta_in
)
TYPES.register(decimal.Decimal, "decimal", str, decimal.Decimal)
TYPES.register(uuid.UUID, "uuid", lambda u: u.bytes, lambda data: uuid.UUID(bytes=data))
TYPES.register(set, "set", _set_out, _set_in)
TYPES.register(frozenset, "frozenset", _set_out, _frozenset_in)
