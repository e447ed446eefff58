"""msgpack, with every failure a `FrameInvalid` that says what was wrong.

Nothing but msgpack's own types travels; what has none is refused when it is sent, by name.
"""

from __future__ import annotations

from typing import TypeAlias

import msgpack

from amzmq.errors import FrameInvalid, InvalidArgs

Value: TypeAlias = object
"""None, bool, int, float, str, bytes, and lists and dicts of these."""


def encode(value: Value) -> bytes:
    """One value as msgpack.

    Raises:
        InvalidArgs: It holds something that has no form on the wire.
    """
    try:
        packed: bytes = msgpack.packb(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgs(
            f"{_short(value)} cannot travel: {error}; use None, bool, int (64 bit), float, str, "
            "bytes, and lists and dicts of these"
        ) from None
    return packed


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
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
