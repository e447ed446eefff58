"""What may happen in a simulation: kinds of steps, and plans of them from a seed."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass


class Do(enum.Enum):
    """One thing that happens."""

    MUTATE = enum.auto()
    BURST = enum.auto()
    CALL = enum.auto()
    NOTIFY = enum.auto()
    PAYLOAD = enum.auto()
    DIRECTED = enum.auto()
    WAIT = enum.auto()
    FIRE = enum.auto()
    SYNC = enum.auto()
    GROW = enum.auto()
    PASS = enum.auto()
    FEED_FAULTS = enum.auto()
    TALK_FAULTS = enum.auto()
    CALM = enum.auto()
    PARTITION = enum.auto()
    CUT = enum.auto()
    SHUT_OUT = enum.auto()
    NARROW = enum.auto()
    RESTART = enum.auto()
    CRASH = enum.auto()
    JOIN = enum.auto()
    LEAVE = enum.auto()
    DIE = enum.auto()
    RETURN = enum.auto()


SHARES: dict[Do, int] = {
    Do.MUTATE: 14,
    Do.BURST: 3,
    Do.CALL: 14,
    Do.NOTIFY: 6,
    Do.PAYLOAD: 8,
    Do.DIRECTED: 5,
    Do.WAIT: 3,
    Do.FIRE: 3,
    Do.SYNC: 3,
    Do.GROW: 1,
    Do.PASS: 24,
    Do.FEED_FAULTS: 4,
    Do.TALK_FAULTS: 4,
    Do.CALM: 3,
    Do.PARTITION: 3,
    Do.CUT: 4,
    Do.SHUT_OUT: 2,
    Do.NARROW: 1,
    Do.RESTART: 2,
    Do.CRASH: 2,
    Do.JOIN: 5,
    Do.LEAVE: 1,
    Do.DIE: 1,
    Do.RETURN: 2,
}
"""How often each comes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        do: What.
        a, b: To whom, and how much of it: each step takes them modulo what there is.
    """

    do: Do
    a: int = 0
    b: int = 0

    def __str__(self) -> str:
        return f"{self.do.name}({self.a}, {self.b})"


LARGEST = 1000
"""Of a step's numbers."""


def plan(seed: int) -> list[Step]:
    """The steps of a seed."""
    rng = random.Random(seed)
    kinds, weights = list(SHARES), list(SHARES.values())
    steps = [Step(Do.JOIN, rng.randrange(LARGEST), rng.randrange(LARGEST)) for _ in range(2)]
    for do in rng.choices(kinds, weights, k=rng.randint(20, 70)):
        steps.append(Step(do, rng.randrange(LARGEST), rng.randrange(LARGEST)))
    return steps
