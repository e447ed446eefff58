"""msgpack, with every failure a `FrameInvalid` that says what was wrong.

Nothing but msgpack's own types travels; what has none is refused when it is sent, by name.
"""

from __future__ import annotations

from typing import TypeAlias

import msgpack

from amzmq.errors import FrameInvalid, InvalidArgs

Value: TypeAlias = object
"""None, bool, int, float, str, bytes, and lists and dicts of these."""

DEPTH_LIMIT = 512
"""Lists and dicts within each other. msgpack writes more, but reads at most 1,023."""

_PLAIN = (str, int, float, bytes, bytearray, memoryview, type(None))
_KEYS = (str, int, float, bytes, type(None))


def encode(value: Value) -> bytes:
    """One value as msgpack.

    Raises:
        InvalidArgs: It holds something that has no form on the wire.
    """
    try:
        packed: bytes = msgpack.packb(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_form(value, str(error)) from None
    return packed


def check_content(value: Value) -> None:
    """Refuse what msgpack has written but would not read again; for values that users give.

    A message of it would be one that nobody can take: a hole in the stream for everybody. Only
    for what `encode` has accepted: that ends what contains itself.

    Raises:
        InvalidArgs: It holds something that has no form on the wire.
    """
    level: list[Value] = [value]
    for _ in range(DEPTH_LIMIT):
        inner: list[Value] = []
        for item in level:
            if isinstance(item, _PLAIN):
                continue
            if isinstance(item, dict):
                for key in item:
                    if not isinstance(key, _KEYS):
                        raise _no_form(value, f"{_short(key)} cannot be a key")
                inner += item.values()
            elif isinstance(item, (list, tuple)) and not isinstance(item, msgpack.ExtType):
                inner += item
            else:
                raise _no_form(value, f"can not serialize {type(item).__name__!r} object")
        if not inner:
            return
        level = inner
    raise _no_form(value, f"more than {DEPTH_LIMIT} lists and dicts within each other")


def _no_form(value: Value, reason: str) -> InvalidArgs:
    return InvalidArgs(
        f"{_short(value)} cannot travel: {reason}; use None, bool, int (64 bit), float, str, "
        "bytes, and lists and dicts of these"
    )


def decode(data: bytes) -> Value:
    """The value that `data` holds, all of it and nothing else.

    Raises:
        FrameInvalid: The bytes are not one msgpack value.
    """
    try:
        value: Value = msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise FrameInvalid(f"{len(data)} bytes that are no msgpack value: {reason}") from None
    return value


def decode_array(data: bytes) -> list[Value]:
    """The array that `data` holds; every message is one.

    Raises:
        FrameInvalid: It is not one msgpack array.
    """
    value = decode(data)
    if not isinstance(value, list):
        raise FrameInvalid(f"a message is an array, this is {_short(value)}")
    return value


def _short(value: Value) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deep {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
