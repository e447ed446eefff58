"""How states tick as time goes by: what a live table tells beside the ticks themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

WINDOW = 5.0
"""Seconds that a rate is measured over."""


@dataclass(frozen=True, slots=True)
class Row:
    """A state.

    Attributes:
        name: Its name.
        tick: Its tick; odd is active.
        rate: Ticks a second, lately.
        age: Seconds since it was seen to change; None if it was not.
    """

    name: str
    tick: int
    rate: float
    age: float | None


class Pulse:
    """Looks at a clock from time to time.

    Args:
        clock: The first look: the tick of each state.
        now: When, in seconds.
    """

    def __init__(self, clock: Mapping[str, int], now: float) -> None:
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque([(now, clock)])
        self._changed: dict[str, float] = {}

    def look(self, clock: Mapping[str, int], now: float) -> None:
        """Look again."""
        before = self._looks[-1][1]
        for name, tick in clock.items():
            if tick != before.get(name, tick):
                self._changed[name] = now
        self._looks.append((now, clock))
        # The last look from before the window stays: the window begins with it.
        while len(self._looks) > 2 and now - self._looks[1][0] >= WINDOW:
            self._looks.popleft()

    def rows(self) -> list[Row]:
        """All states, in the machine's order."""
        now, clock = self._looks[-1]
        began, first = self._looks[0]
        seconds = now - began
        return [
            Row(
                name,
                tick,
                # A source that was restarted counts from 0 again.
                max(0, tick - first.get(name, tick)) / seconds if seconds else 0.0,
                now - self._changed[name] if name in self._changed else None,
            )
            for name, tick in clock.items()
        ]


def liveliest(rows: list[Row], count: int) -> list[Row]:
    """As many rows as there is room for: those that changed last, then the active ones.

    They keep their order.
    """
    if len(rows) <= count:
        return rows
    by_interest = sorted(
        range(len(rows)),
        key=lambda at: (
            rows[at].age is None,
            rows[at].age or 0.0,
            not rows[at].tick & 1,
            at,
        ),
    )
    return [rows[at] for at in sorted(by_interest[: max(0, count)])]
