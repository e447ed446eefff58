"""A checksum of a clock that is kept up to date in O(changed).

Each position has a key of its own, so a swap of two ticks changes the sum; the sum is taken
modulo a prime above 2**60, so that no wrap at 8, 16, 32 bits goes unseen; the low 32 bits
travel. The keys depend on the names and their order, so clocks of different schemas differ.
It finds accidents, not attacks: those are kept out by CURVE.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

_PRIME = (1 << 61) - 1
CHECKSUM_MASK = 0xFFFFFFFF
"""The bits of a total that travel."""

_MASK64 = (1 << 64) - 1


class ClockSum:
    """The running checksum of one clock.

    Args:
        names: The state names in index order.
    """

    __slots__ = ("_keys", "_machine_key", "_queue_key", "_total")

    def __init__(self, names: Sequence[str]) -> None:
        seed = zlib.crc32("\0".join(names).encode()) << 20
        self._queue_key = _key(seed)
        self._machine_key = _key(seed + 1)
        self._keys = [_key(seed + 2 + at) for at in range(len(names))]
        self._total = 0

    @property
    def value(self) -> int:
        """The 32 bits that travel."""
        return self._total & CHECKSUM_MASK

    def reset(self, ticks: Sequence[int], queue_tick: int, machine_tick: int) -> int:
        """Start from a whole clock; returns the value."""
        total = queue_tick * self._queue_key + machine_tick * self._machine_key
        for key, tick in zip(self._keys, ticks, strict=True):
            total += key * tick
        self._total = total % _PRIME
        return self.value

    def after(self, changes: Sequence[int], queue_ticks: int, machine_ticks: int) -> int:
        """The total after changes that are not taken over yet; see `accept`.

        Args:
            changes: Index, ticks added, index, ticks added, and so on.
            queue_ticks: Added to the queue tick.
            machine_ticks: Added to the machine tick.

        Raises:
            IndexError: There is no such index, or an index without its ticks.
        """
        keys = self._keys
        total = self._total + queue_ticks * self._queue_key
        if machine_ticks:
            total += machine_ticks * self._machine_key
        if len(changes) == 2 and changes[0] >= 0:  # nearly always one state
            return (total + keys[changes[0]] * changes[1]) % _PRIME
        if len(changes) & 1:
            raise IndexError(f"{len(changes)} numbers are no pairs")
        pairs = iter(changes)
        for index, ticks in zip(pairs, pairs, strict=False):
            if index < 0:
                raise IndexError(index)
            total += keys[index] * ticks
        return total % _PRIME

    def advance(self, changes: Sequence[int], queue_ticks: int, machine_ticks: int) -> int:
        """Take over changes at once; returns the value."""
        self._total = total = self.after(changes, queue_ticks, machine_ticks)
        return total & CHECKSUM_MASK

    def accept(self, total: int) -> int:
        """Take over a total that `after` gave; returns the value."""
        self._total = total
        return total & CHECKSUM_MASK


def _key(position: int) -> int:
    """A well-mixed non-zero number below the prime (the finaliser of splitmix64)."""
    z = (position + 0x9E3779B97F4A7C15) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return ((z ^ (z >> 31)) % (_PRIME - 1)) + 1
