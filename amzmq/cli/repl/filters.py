"""Which of many machines: the filters of ``list``, ``group-add`` and ``group-remove``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Filterable(Protocol):
    """What a filter looks at."""

    @property
    def id(self) -> str:
        """The machine's id."""

    @property
    def parent(self) -> str:
        """Id of its parent; "" without one."""

    def has(self, *states: str) -> bool:
        """Whether all these are states of it."""

    def is_active(self, state: str) -> bool:
        """Whether the state is active; an unknown one never is."""

    def time_sum(self, *states: str) -> int:
        """The sum of the ticks, of all or of these states; an unknown one counts 0."""


_Machine = TypeVar("_Machine", bound=Filterable)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a machine must be like; all of it.

    Attributes:
        active: States that are active.
        inactive: States that it has and that are not active.
        min_sum: The least time sum.
        max_sum: The greatest time sum.
        sum_states: The states that the time sum is of; all when empty.
        parent: Its parent's id.
        pattern: Found somewhere in its id.
        substring: Part of its id.
        prefix: How its id begins.
        suffix: How its id ends.
        limit: How many at most of those that match.
        start: How many of those that match are left out at the beginning.
    """

    active: tuple[str, ...] = ()
    inactive: tuple[str, ...] = ()
    min_sum: int | None = None
    max_sum: int | None = None
    sum_states: tuple[str, ...] = ()
    parent: str | None = None
    pattern: re.Pattern[str] | None = None
    substring: str = ""
    prefix: str = ""
    suffix: str = ""
    limit: int | None = None
    start: int = 0

    def select(self, machines: Iterable[_Machine]) -> list[_Machine]:
        """Those that match, in their order."""
        matching = [machine for machine in machines if self.matches(machine)]
        end = None if self.limit is None else self.start + self.limit
        return matching[self.start : end]

    def matches(self, machine: Filterable) -> bool:
        """Whether one machine does, `limit` and `start` aside."""
        return self._matches_id(machine) and self._matches_states(machine)

    def _matches_id(self, machine: Filterable) -> bool:
        return (
            (self.parent is None or machine.parent == self.parent)
            and (self.pattern is None or self.pattern.search(machine.id) is not None)
            and self.substring in machine.id
            and machine.id.startswith(self.prefix)
            and machine.id.endswith(self.suffix)
        )

    def _matches_states(self, machine: Filterable) -> bool:
        time_sum = machine.time_sum(*self.sum_states)
        return (
            all(map(machine.is_active, self.active))
            and machine.has(*self.inactive)
            and not any(map(machine.is_active, self.inactive))
            and (self.min_sum is None or time_sum >= self.min_sum)
            and (self.max_sum is None or time_sum <= self.max_sum)
        )
