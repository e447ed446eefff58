"""States that a view leaves out, but that must be active because active ones require them.

A state that is inferred has the tick 1 while it is, and 0 otherwise: so `is_` and `tick` agree,
and every replica of the view shows the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from amzmq.machine.compiled import UNKNOWN, CompiledSchema


class Inference:
    """What follows from the active states of a view.

    Args:
        schema: The machine's schema.
        tracked: Indexes of the states in the view.
    """

    __slots__ = ("_follows",)

    def __init__(self, schema: CompiledSchema, tracked: Sequence[int]) -> None:
        seen = frozenset(tracked)
        self._follows: dict[int, frozenset[int]] = {}
        for state in tracked:
            if needed := _needed(schema, state).difference(seen):
                self._follows[state] = frozenset(needed)

    def of(self, active: Iterable[int]) -> set[int]:
        """The states outside of the view that must be active when these are."""
        inferred: set[int] = set()
        for state in active:
            inferred |= self._follows.get(state, frozenset())
        return inferred


def _needed(schema: CompiledSchema, state: int) -> set[int]:
    """All states that `state` requires, directly or not."""
    needed: set[int] = set()
    open_ = [state]
    while open_:
        for required in schema.require[open_.pop()]:
            if required != UNKNOWN and required not in needed:
                needed.add(required)
                open_.append(required)
    return needed
