"""A tracer that notes what a machine went through."""

from __future__ import annotations

from typing import Any

from amzmq.machine import Tracer


class Walk(Tracer):
    """The states that each transition entered, one set a transition that entered any."""

    id = "walk"

    def __init__(self) -> None:
        self.entered: list[set[str]] = []

    def transition_end(self, tx: Any) -> None:
        pairs = zip(tx.machine.state_names, tx.time_before, tx.time_after, strict=False)
        entered = {name for name, old, new in pairs if new & 1 and not old & 1}
        if entered:
            self.entered.append(entered)

    def steps(self, *states: str) -> list[set[str]]:
        """The steps, as far as they are about the given states."""
        return [step & set(states) for step in self.entered if step & set(states)]
