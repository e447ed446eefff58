"""Observing a clock at the price of a few instructions a mutation.

A tracer sees every transition and pays for it; an observer only learns *which* ticks changed
since it last looked. That is all a feed needs to publish merged diffs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from amzmq.machine.compiled import CompiledSchema

ClockTicks: TypeAlias = tuple[tuple[int, int], ...]
"""(index, tick) pairs, ascending by index."""


class ClockReading(NamedTuple):
    """A clock, or what changed of it, at one moment.

    Attributes:
        ticks: (index, tick) pairs, ascending by index.
        queue_tick: The queue tick.
        machine_tick: The machine tick.
        schema: Whose indexes these are.
    """

    ticks: ClockTicks
    queue_tick: int
    machine_tick: int
    schema: CompiledSchema


class ClockObserver:
    """Collects the states that ticked.

    Args:
        wake: Called once when something changed after a `take`; on the mutating thread, with
            the machine's lock held: it may only schedule.

    Attributes:
        mask: Bit mask of the state indexes that ticked since the last `take`.
        pending: Whether anything changed since, the queue tick included.
    """

    __slots__ = ("mask", "pending", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.mask = 0
        self.pending = False
        self.wake = wake

    def touch(self, mask: int) -> None:
        """Something changed."""
        self.mask |= mask
        if not self.pending:
            self.pending = True
            self.wake()

    def take(self) -> int:
        """The mask of what ticked since the last call; the machine's lock is held."""
        mask, self.mask = self.mask, 0
        self.pending = False
        return mask


def bits(mask: int) -> Iterator[int]:
    """The positions of the set bits, ascending.

    >>> list(bits(0b1010))
    [1, 3]
    """
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
