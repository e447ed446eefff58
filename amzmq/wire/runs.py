"""Updates that arrived together: decoded in one go, and added up to one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import msgpack

from amzmq.wire.feed import UPDATE_BYTE

_ARRAY_32 = b"\xdd"
"""What an array begins with whose length is told in 4 bytes."""


def usual_updates(frames: Sequence[bytes], start: int) -> list[list[Any]]:
    """The fields of the updates that frames begin with, decoded in one go.

    Args:
        frames: Each holds a body.
        start: Where the bodies begin in them.

    Returns:
        One list for each frame up to the first that is no update; nothing where one of them is
        no array of its own. What is in the lists is not looked at.
    """
    arrays: list[bytes] = []
    for frame in frames:
        if frame[start : start + 1] != UPDATE_BYTE:
            break
        arrays.append(frame[start + 1 :])
    try:
        updates = msgpack.unpackb(_ARRAY_32 + len(arrays).to_bytes(4, "big") + b"".join(arrays))
    except ValueError:
        return []
    return updates  # type: ignore[no-any-return]


def merge(changes: Iterable[Sequence[int]]) -> list[int]:
    """Several diffs as one: index, ticks added, index, ticks added, and so on.

    Raises:
        ValueError: One of them holds no pairs.
    """
    numbers = chain.from_iterable(changes)
    deltas: dict[int, int] = {}
    # Few pairs are different, and a Counter adds up in C.
    for (index, ticks), times in Counter(zip(numbers, numbers, strict=True)).items():
        deltas[index] = deltas.get(index, 0) + ticks * times
    return [value for pair in deltas.items() for value in pair]
