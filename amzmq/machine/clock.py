"""Logical clocks: ticks, and vectors of ticks (spec machine 2).

A state's tick starts at 0 and only grows. Odd means active, even means inactive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex


def is_active_tick(tick: int) -> bool:
    """Whether a state with this tick is active."""
    return tick & 1 == 1


def next_active_in(tick: int) -> int:
    """How many ticks until the next activation: 2 when active now, else 1."""
    return 2 if tick & 1 else 1


def next_inactive_in(tick: int) -> int:
    """How many ticks until the next deactivation: 1 when active now, else 2."""
    return 1 if tick & 1 else 2


class Time(tuple[int, ...]):
    """A vector of ticks in state-index order; immutable (spec machine 2.3).

    >>> Time([1, 2, 3]).sum()
    6
    >>> str(Time([1, 0]))
    '1 0'
    """

    __slots__ = ()

    def increment(self, index: int) -> Time:
        """A copy with one tick added at `index`; a plain copy when out of range."""
        ticks = list(self)
        if 0 <= index < len(ticks):
            ticks[index] += 1
        return Time(ticks)

    def plus(self, other: Iterable[int]) -> Time:
        """The element-wise sum; self when the lengths differ."""
        ticks = tuple(other)
        if len(ticks) != len(self):
            return self
        return Time(a + b for a, b in zip(self, ticks, strict=True))

    def diff_since(self, before: Iterable[int]) -> Time:
        """The element-wise difference to an earlier vector; zeros when the lengths differ."""
        ticks = tuple(before)
        if len(ticks) != len(self):
            return Time([0] * len(self))
        return Time(a - b for a, b in zip(self, ticks, strict=True))

    def filter(self, indexes: Iterable[int]) -> Time:
        """The sub-vector at `indexes`; 0 where an index is out of range."""
        return Time(self.tick(index) for index in indexes)

    def sum(self, indexes: Iterable[int] | None = None) -> int:
        """The sum of all ticks, or of those at `indexes` (out of range is skipped)."""
        if indexes is None:
            return sum(self)
        return sum(self.tick(index) for index in indexes)

    def tick(self, index: SupportsIndex) -> int:
        """The tick at `index`, 0 when out of range."""
        position = index.__index__()
        return self[position] if 0 <= position < len(self) else 0

    def non_zero_states(self) -> tuple[int, ...]:
        """The indexes of the states that were ever active."""
        return tuple(index for index, tick in enumerate(self) if tick)

    def active_states(self) -> tuple[int, ...]:
        """The indexes of the active states."""
        return tuple(index for index, tick in enumerate(self) if tick & 1)

    def after(self, other: Iterable[int], *, or_equal: bool = False) -> bool:
        """Whether every compared tick is greater (or equal) than the other's."""
        pairs = zip(self, other, strict=False)
        return all(a >= b if or_equal else a > b for a, b in pairs)

    def before(self, other: Iterable[int], *, or_equal: bool = False) -> bool:
        """Whether every compared tick is smaller (or equal) than the other's."""
        pairs = zip(self, other, strict=False)
        return all(a <= b if or_equal else a < b for a, b in pairs)

    def is1(self, index: int) -> bool:
        """Whether the state at `index` is active; False when out of range."""
        return 0 <= index < len(self) and self[index] & 1 == 1

    def not1(self, index: int) -> bool:
        """Whether the state at `index` is inactive; False when out of range."""
        return 0 <= index < len(self) and self[index] & 1 == 0

    def __str__(self) -> str:
        return " ".join(map(str, self))
