"""Other state machines in Python, each used in its fastest plain way.

Two states, A and B, with a trigger for each way. That is less than our machines do, which
resolve relations, but it is what a user of these would write for "on" and "off".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from statemachine import State, StateMachine
from transitions import Machine

Pairs = Callable[[int], None]
"""Goes there and back so many times: two state changes each."""


class Calls:
    """What the callbacks do in all systems: count, to prove that they ran."""

    def __init__(self) -> None:
        self.calls = 0


class TransitionsModel(Calls):
    go: Any
    back: Any


class TransitionsModelWithCallbacks(TransitionsModel):
    def on_enter_B(self) -> None:
        self.calls += 1

    def on_exit_B(self) -> None:
        self.calls += 1


def transitions(callbacks: bool) -> tuple[Pairs, Calls]:
    """A machine of the package transitions."""
    model = TransitionsModelWithCallbacks() if callbacks else TransitionsModel()
    Machine(
        model,
        states=["A", "B"],
        transitions=[["go", "A", "B"], ["back", "B", "A"]],
        initial="A",
        auto_transitions=False,
    )
    return _pairs(model.go, model.back), model


class StateMachineModel(StateMachine):
    A = State(initial=True)
    B = State()
    go: Any = A.to(B)
    back: Any = B.to(A)

    def __init__(self) -> None:
        self.calls = 0
        super().__init__()


class StateMachineModelWithCallbacks(StateMachineModel):
    def on_enter_B(self) -> None:
        self.calls += 1

    def on_exit_B(self) -> None:
        self.calls += 1


def python_statemachine(callbacks: bool) -> tuple[Pairs, StateMachineModel]:
    """A machine of the package python-statemachine."""
    model = StateMachineModelWithCallbacks() if callbacks else StateMachineModel()
    return _pairs(model.go, model.back), model


def _pairs(go: Callable[[], object], back: Callable[[], object]) -> Pairs:
    def run(pairs: int) -> None:
        for _ in range(pairs):
            go()
            back()

    return run
