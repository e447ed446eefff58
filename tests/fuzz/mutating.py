"""Changing an input: what is msgpack by its structure, all else byte by byte."""

from __future__ import annotations

import random

import msgpack

from amzmq.wire.types import EXT_CODE

_NUMBERS = [0, 1, 2, 3, 7, 8, 31, 32, 127, 128, 255, 256, 1 << 16, 1 << 31, 1 << 32, 1 << 62]
INTERESTING: list[object] = [
    *_NUMBERS, *(-n for n in _NUMBERS), (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63),
    None, True, False, 0.5, float("nan"), float("inf"), "", "A", "Exception", "\ud7ff", b"",
    b"\0", b"streamid", [], {}, [[]], {"": []}, {1: 2}, [None] * 20, [[], "x"], ["A", 0], "x" * 300,
    msgpack.ExtType(EXT_CODE, msgpack.packb(["set", [1, 2]])),
    msgpack.ExtType(EXT_CODE, msgpack.packb(["no such tag", 1])),
    msgpack.ExtType(77, b"x"),
]  # fmt: skip
"""Values at whose borders readers go wrong."""


def changed(data: bytes, rng: random.Random, is_packed: bool, prefix: int) -> bytes:
    """An input like `data`, but not quite.

    Args:
        data: An input.
        rng: Where the randomness comes from.
        is_packed: Whether it is msgpack.
        prefix: Bytes before the msgpack.
    """
    if is_packed and rng.random() < 0.8:
        head, packed = data[:prefix], data[prefix:]
        try:
            value = msgpack.unpackb(packed, strict_map_key=False)
            for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
                value = _within(value, rng)
            if prefix and rng.random() < 0.1:
                head = _bytes(head, rng)
            packed = msgpack.packb(value, use_bin_type=True)
            assert isinstance(packed, bytes)
            return head + packed
        except (ValueError, TypeError, OverflowError, RecursionError):
            pass
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        data = _bytes(data, rng)
    return data


def _within(value: object, rng: random.Random) -> object:
    """The value with one place in it changed."""
    if isinstance(value, list) and value and rng.random() < 0.85:
        return _list(value, rng)
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        inner = dict(value)
        kept = inner.pop(key)
        if rng.random() < 0.8:
            inner[key if rng.random() < 0.7 else rng.choice(("", "A", 1, None))] = _within(
                kept, rng
            )
        return inner
    return _other(value, rng)


def _list(value: list[object], rng: random.Random) -> list[object]:
    at = rng.randrange(len(value))
    what = rng.random()
    if what < 0.7:
        return [*value[:at], _within(value[at], rng), *value[at + 1 :]]
    if what < 0.8:
        return value[:at] + value[at + 1 :]
    if what < 0.9:
        return [*value[:at], rng.choice(value), *value[at:]]
    if what < 0.95:
        return [*value, rng.choice(INTERESTING)]
    return value[:at]


def _other(value: object, rng: random.Random) -> object:
    """Another value in its place, often of the same type."""
    same = rng.random()
    if type(value) is int and same < 0.7:
        return value + rng.choice((-1, 1, 2, 255)) if same < 0.4 else rng.choice(_NUMBERS)
    if isinstance(value, bytes) and same < 0.6:
        return _bytes(value, rng)
    if isinstance(value, str) and same < 0.5:
        return _bytes(value.encode("utf-8", "surrogatepass"), rng).decode("utf-8", "ignore")
    return rng.choice(INTERESTING)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return rng.randbytes(rng.randrange(1, 9))
    at = rng.randrange(len(data))
    what = rng.random()
    if what < 0.3:
        return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]
    if what < 0.5:
        return data[:at] + rng.randbytes(1) + data[at + 1 :]
    if what < 0.65:
        return data[:at] + rng.randbytes(rng.randrange(1, 5)) + data[at:]
    if what < 0.8:
        return data[:at] + data[at + rng.randrange(1, 9) :]
    if what < 0.9:
        return data[:at]
    end = min(len(data), at + rng.randrange(1, 17))
    return data[:end] + data[at:end] + data[end:]
