"""The recorded steps of transitions (spec machine 4.11)."""

from __future__ import annotations

import pytest

from amzmq.machine import (
    Event,
    LastTransition,
    LogLevel,
    Machine,
    State,
    Step,
    StepType,
    Transition,
)
from tests.machine.rig import fail, plain, relations


def watched(machine: Machine, **options: bool) -> LastTransition:
    last = LastTransition()
    machine.bind_tracer(last)
    machine.log_steps(**options)
    return last


def steps_of(last: LastTransition) -> list[str]:
    assert last.last is not None
    return [str(step) for step in last.last.steps]


def test_types_have_the_values_of_the_wire() -> None:
    assert [int(kind) for kind in StepType] == [1, 2, 4, 8, 16, 32, 64]
    assert [kind.name for kind in StepType] == [
        "RELATION",
        "HANDLER",
        "ACTIVATE",
        "DEACTIVATE",
        "DEACTIVATE_PASSIVE",
        "CALLED",
        "CANCEL",
    ]


def test_steps_of_an_addition() -> None:
    machine = Machine({"A": State(add="B", remove="C"), "B": State(), "C": State(), "D": State()})
    machine.add("C", "D")
    last = watched(machine)
    machine.bind({"CExit": lambda e: True, "AState": lambda e: None, "DA": lambda e: True})
    machine.bind({"AnyEnter": lambda e: True, "DD": lambda e: None, "CEnd": lambda e: None})
    machine.add("A")
    assert steps_of(last) == [
        "called **A**",
        "**A** add **B**",
        "**A** remove **C**",
        "activate **A**",
        "activate **B**",
        "deactivate **C**",
        "handler **C**Exit",
        "handler **D****D**",
        "handler **D****A**",
        "handler **Any**Enter",
        "handler **C**End",
        "handler **A**State",
    ]
    assert last.last is not None
    assert last.last.steps[1] == Step(StepType.RELATION, "A", "B", "add")
    assert last.last.time_index_touched == ["A", "B", "C", "D"]


def test_states_kept_out_are_passive_and_rejected_ones_cancel() -> None:
    machine = Machine(
        {
            "A": State(remove="B"),
            "B": State(),
            "C": State(add="B"),
            "D": State(require=["X", "B"]),
            "E": State(add="D"),
            "X": State(),
        }  # fmt: skip
    )
    last = watched(machine)
    machine.add("A")
    machine.add("C")
    assert steps_of(last)[-2:] == ["activate **C**", "deactivate-passive **B**"]
    machine.add("B")
    assert steps_of(last) == ["called **B**", "**A** remove **B**", "cancel **B**"]
    machine.add("E")
    assert steps_of(last) == [
        "called **E**",
        "**E** add **D**",
        "**D** require **X**",
        "**D** require **B**",
        "activate **E**",
        "deactivate-passive **D**",
    ]
    assert last.last is not None
    assert last.last.time_index_touched == ["B", "D", "E", "X"]
    machine.set("X")
    machine.add("D")
    # Only what is missing is told.
    assert steps_of(last) == ["called **D**", "**D** require **B**", "cancel **D**"]


@pytest.mark.parametrize(
    ("handlers", "expected"),
    [
        ({"BEnter": lambda e: False}, ["handler **B**Enter", "cancel **B**"]),
        ({"AB": lambda e: False}, ["handler **A****B**", "cancel **B**"]),
        ({"BEnter": fail()}, ["handler **B**Enter", "cancel **B**"]),
        ({"AnyEnter": lambda e: False}, ["handler **Any**Enter", "cancel **Any**"]),
    ],
)
def test_whoever_cancels_is_the_last_step(handlers: dict[str, object], expected: list[str]) -> None:
    machine, seen = plain(), []

    class Keep(LastTransition):
        def transition_end(self, tx: Transition) -> None:
            seen.append([str(step) for step in tx.steps])

    machine.add("A")
    machine.bind(handlers)
    machine.bind_tracer(Keep())
    machine.log_steps()
    machine.add("B")
    assert seen[0] == ["called **B**", "activate **B**", *expected]


def test_late_handlers_cancel_too() -> None:
    machine = plain(handler_timeout=0.0)
    last = watched(machine)
    machine.bind({"BEnter": lambda e: sum(range(1000)) and None})
    machine.add("B")
    assert steps_of(last)[-1] == "cancel **B**"


def test_steps_are_recorded_only_when_asked_for() -> None:
    machine, last = plain(), LastTransition()
    machine.bind_tracer(last)
    machine.add("A")
    assert steps_of(last) == []
    assert last.last is not None
    assert last.last.time_index_touched == []
    machine.log_steps()
    machine.can_add("B")
    assert steps_of(last) == []
    machine.log_steps(checks=True)
    machine.can_add("B")
    assert steps_of(last) == ["called **B**", "activate **B**"]
    machine.add("C")
    assert steps_of(last) == ["called **C**", "activate **C**"]
    machine.log_steps(False, checks=True)
    machine.can_add("B")
    machine.add("D")
    assert steps_of(last) == []


def test_steps_need_no_tracer() -> None:
    machine = plain()
    machine.log_steps()
    seen: list[str] = []
    machine.bind({"AState": lambda e: seen.append(str(machine.transition()))})
    machine.add("A")
    lines = seen[0].splitlines()
    assert lines[0].startswith("tx#")
    assert lines[1:] == ["[add] A", "- called **A**", "- activate **A**", "- handler **A**State"]


def test_events_of_several_bindings_are_one_step_and_unhandled_ones_none() -> None:
    machine = plain("A")
    last = watched(machine)
    machine.set_log(LogLevel.EVERYTHING, sink=lambda *_: None)
    for _ in range(2):
        machine.bind({"AEnter": lambda e: True})
    machine.add("A")
    assert steps_of(last)[2:] == ["handler **A**Enter"]


def test_handler_sees_the_steps_and_times_of_its_transition() -> None:
    """TestHandlerStateInfo of the reference, with its steps."""
    machine = relations()
    machine.log_steps()
    machine.set("A", "C")
    seen: list[object] = []

    def enter(event: Event) -> None:
        tx = event.transition
        assert tx is not None
        text = str(tx).split("\n", 1)[1].splitlines()
        seen.append((tx.states_before, tx.target, tx.called, text))

    def state(event: Event) -> None:
        tx = event.transition
        assert tx is not None
        times = (tx.time_index_before, tx.time_index_after, tx.time_index_called)
        seen.append([str(index) for index in times])
        seen.append((tx.time_index_diff(), tx.time_index_time_diff(), tx.time_index_touched))

    machine.bind({"DEnter": enter, "DState": state})
    machine.add("D")
    assert seen == [
        (
            ["C", "A"],
            ["D", "B", "C", "A"],
            ["D"],
            [
                "[add] D",
                "- called **D**",
                "- **D** add **B**",
                "- activate **D**",
                "- activate **B**",
                "- handler **D**Enter",
            ],
        ),
        ["A C", "A B C D", "D"],
        ((["B", "D"], []), ["B", "D"], ["B", "D"]),
    ]
