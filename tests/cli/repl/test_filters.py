from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from amzmq.cli.repl.filters import Filters


@dataclass
class Seen:
    id: str
    clock: dict[str, int] = field(default_factory=dict)
    parent: str = ""

    def has(self, *states: str) -> bool:
        return all(state in self.clock for state in states)

    def is_active(self, state: str) -> bool:
        return bool(self.clock.get(state, 0) & 1)

    def time_sum(self, *states: str) -> int:
        return sum(self.clock.get(state, 0) for state in states or self.clock)


DOOR = Seen("door", {"Open": 3, "Closed": 2}, parent="house")
GATE = Seen("gate", {"Open": 2, "Closed": 1}, parent="garden")
LAMP = Seen("lamp", {"On": 1})
ALL = [DOOR, GATE, LAMP]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), "door gate lamp"),
        (Filters(active=("Open",)), "door"),
        (Filters(active=("Open", "Closed")), ""),
        (Filters(inactive=("Open",)), "gate"),
        (Filters(inactive=("Off",)), ""),
        (Filters(active=("Open",), inactive=("Closed",)), "door"),
        (Filters(min_sum=3), "door gate"),
        (Filters(max_sum=3), "gate lamp"),
        (Filters(min_sum=2, max_sum=3), "gate"),
        (Filters(min_sum=2, sum_states=("Closed",)), "door"),
        (Filters(max_sum=0, sum_states=("Open", "Closed")), "lamp"),
        (Filters(parent="house"), "door"),
        (Filters(parent=""), "lamp"),
        (Filters(pattern=re.compile("^.a")), "gate lamp"),
        (Filters(substring="oo"), "door"),
        (Filters(prefix="g"), "gate"),
        (Filters(suffix="p"), "lamp"),
        (Filters(limit=2), "door gate"),
        (Filters(limit=0), ""),
        (Filters(start=1), "gate lamp"),
        (Filters(start=1, limit=1), "gate"),
        (Filters(start=1, limit=1, pattern=re.compile("a")), "lamp"),
        (Filters(start=9), ""),
    ],
)
def test_only_what_matches_everything_is_selected(filters: Filters, found: str) -> None:
    assert [machine.id for machine in filters.select(ALL)] == found.split()
