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

    def is_(self, *indexes: int) -> bool:
        """Whether all the states at `indexes` are active; False for none at all."""
        return bool(indexes) and all(self.is1(index) for index in indexes)

    def not_(self, *indexes: int) -> bool:
        """Whether none of the states at `indexes` is active."""
        return not any(self.is1(index) for index in indexes)

    def any_(self, *indexes: int) -> bool:
        """Whether any of the states at `indexes` is active."""
        return any(self.is1(index) for index in indexes)

    def equal(self, other: Iterable[int], *, strict: bool = True) -> bool:
        """Whether the ticks are equal; if not strict, up to the shorter length."""
        ticks = tuple(other)
        shorter = min(len(self), len(ticks))
        return self[:shorter] == ticks[:shorter] and not (strict and len(self) != len(ticks))

    def to_index(self, names: Iterable[str]) -> TimeIndex:
        """The same ticks with the names of the states."""
        return TimeIndex(names, self)

    def __str__(self) -> str:
        return " ".join(map(str, self))


class TimeIndex:
    """Ticks with the names of their states (spec machine 2.3).

    Args:
        names: The states, in index order.
        time: Their ticks; 0 for those beyond its end.

    >>> times = TimeIndex(["A", "B"], [1, 2])
    >>> str(times), times.tick("B"), times.is_("A"), times.not_("B", "Unknown")
    ('A', 2, True, True)
    """

    __slots__ = ("names", "time")

    def __init__(self, names: Iterable[str], time: Iterable[int]) -> None:
        self.names = tuple(names)
        ticks = Time(time)
        self.time = ticks.filter(range(len(self.names)))

    @classmethod
    def of_active(cls, names: Iterable[str], active: Iterable[str]) -> TimeIndex:
        """Tick 1 for the active states, 0 for the others."""
        states, inside = tuple(names), frozenset(active)
        return cls(states, [int(name in inside) for name in states])

    def tick(self, state: str) -> int:
        """The tick of a state; 0 when unknown."""
        return self.time.tick(self._index(state))

    def is_(self, *states: str) -> bool:
        """Whether all of `states` are active; False for none at all."""
        return self.time.is_(*map(self._index, states))

    def not_(self, *states: str) -> bool:
        """Whether none of `states` is active; an unknown one is not."""
        return self.time.not_(*map(self._index, states))

    def any_(self, *states: str) -> bool:
        """Whether any of `states` is active."""
        return self.time.any_(*map(self._index, states))

    def active_states(self, *states: str) -> list[str]:
        """The active states in index order; with arguments, those of them that are active."""
        return [state for state in states or self.names if self.is_(state)]

    def non_zero_states(self) -> list[str]:
        """The states that were ever active."""
        return [self.names[at] for at in self.time.non_zero_states()]

    def filter(self, *states: str) -> TimeIndex:
        """The ticks of these states only."""
        return TimeIndex(states, map(self.tick, states))

    def sum(self, *states: str) -> int:
        """The sum of the ticks of `states`; an empty selection sums to 0."""
        return sum(map(self.tick, states))

    def _index(self, state: str) -> int:
        return self.names.index(state) if state in self.names else -1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TimeIndex):
            return NotImplemented
        return (self.names, self.time) == (other.names, other.time)

    def __hash__(self) -> int:
        return hash((self.names, self.time))

    def __str__(self) -> str:
        return " ".join(self.active_states())

    def __repr__(self) -> str:
        return f"TimeIndex({dict(zip(self.names, self.time, strict=True))})"
