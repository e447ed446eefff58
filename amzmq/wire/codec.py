"""msgpack, with every failure a `FrameInvalid` that says what was wrong.

Only msgpack's own types and the registered ones (`amzmq.wire.types`) travel; anything else is
refused when it is sent, by name. Plain values never see the code for registered ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import msgpack

from amzmq.errors import FrameInvalid, InvalidArgs
from amzmq.wire.types import EXT_CODE, TYPES, Unregistered

Value: TypeAlias = object
"""None, bool, int, float, str, bytes, objects of registered types, and lists and dicts of these."""

DEPTH_LIMIT = 512
"""Lists and dicts within each other. msgpack writes more, but reads at most 1,023."""

OBJECT_DEPTH_LIMIT = 32
"""Registered objects within each other. Each takes some of the C stack of whoever reads it."""

_PLAIN = (str, int, float, bytes, bytearray, memoryview, type(None))
_KEYS = (str, int, float, bytes, type(None))

_Packer = msgpack.Packer


class _OfThread(threading.local):
    """A packer may be used by one thread at a time, and each has a buffer of 256 KiB."""

    def __init__(self) -> None:
        self.pack: Callable[[object], bytes] = _Packer().pack


_of_thread = _OfThread()


def plain_packer() -> Callable[[object], bytes]:
    """This thread's packer for what holds no objects: quicker than `encode`, which makes one."""
    return _of_thread.pack


def encode(value: Value) -> bytes:
    """One value as msgpack.

    Raises:
        InvalidArgs: It holds something that has no form on the wire.
    """
    try:
        # msgpack.packb makes a packer as well, only by a detour.
        packed: bytes = _Packer(default=_pack_outermost).pack(value)
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
    reason = _unreadable(value)
    if reason:
        raise _no_form(value, reason)


def _unreadable(value: Value, foreign: bool = False) -> str:
    """Why a value that was written could not be read; "" if it could.

    With `foreign`, extensions of msgpack that are not ours may be in it.
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
                        return f"{_short(key)} cannot be a key"
                inner += item.values()
            elif isinstance(item, (list, tuple)) and not isinstance(item, msgpack.ExtType):
                inner += item
            elif foreign and isinstance(item, msgpack.ExtType) and item.code != EXT_CODE:
                continue
            elif type(item) not in TYPES:  # what is within was looked at when it was written
                return f"can not serialize {type(item).__name__!r} object"
        if not inner:
            return ""
        level = inner
    return f"more than {DEPTH_LIMIT} lists and dicts within each other"


def _no_form(value: Value, reason: str) -> InvalidArgs:
    return InvalidArgs(
        f"{_short(value)} cannot travel: {reason}; use None, bool, int (64 bit), float, str, "
        "bytes, objects of registered types, and lists and dicts of these"
    )


def decode(data: bytes) -> Value:
    """The value that `data` holds, all of it and nothing else.

    Raises:
        FrameInvalid: The bytes are not one msgpack value.
    """
    try:
        value: Value = msgpack.unpackb(data, strict_map_key=False, ext_hook=_read_outermost)
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


def _pack_object(depth: int, obj: Value) -> msgpack.ExtType:
    """What msgpack asks for when it meets an object that is not its own."""
    tag, value = TYPES.encode(obj)
    if depth == OBJECT_DEPTH_LIMIT:
        raise ValueError(_TOO_DEEP)
    payload = _Packer(default=partial(_pack_object, depth + 1)).pack([tag, value])
    # An Unregistered is handed on as it came: extensions of others may be in it.
    reason = _unreadable(value, foreign=isinstance(obj, Unregistered))
    if reason:
        raise ValueError(f"{reason}, in an object of type {tag!r}")
    return msgpack.ExtType(EXT_CODE, payload)


def _read_object(depth: int, code: int, payload: bytes) -> Value:
    """What msgpack asks for when it meets an extension."""
    if code != EXT_CODE:
        return msgpack.ExtType(code, payload)
    if depth == OBJECT_DEPTH_LIMIT:
        raise ValueError(_TOO_DEEP)
    # unpackb keeps 45 KB on the C stack, and a dozen of them within each other end a thread
    # with a small one: anybody could send that. An Unpacker keeps them on the heap.
    unpacker = msgpack.Unpacker(
        strict_map_key=False,
        ext_hook=partial(_read_object, depth + 1),
        max_buffer_size=len(payload) or 1,
        read_size=1,
    )
    unpacker.feed(payload)
    try:
        content: Value = unpacker.unpack()
    except msgpack.OutOfData:
        raise ValueError(f"an object of {len(payload)} bytes is cut short") from None
    if not isinstance(content, list) or len(content) < 2 or type(content[0]) is not str:
        raise ValueError("an object is not [tag, value]")
    return TYPES.decode(content[0], content[1])


_TOO_DEEP = f"more than {OBJECT_DEPTH_LIMIT} objects of registered types within each other"
_pack_outermost = partial(_pack_object, 0)
_read_outermost = partial(_read_object, 0)


def _short(value: Value) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deep {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
