"""Quirks of the reference that are kept on purpose, and its bugs that are not."""

from __future__ import annotations

import pytest

from amzmq.errors import SchemaError
from amzmq.machine import Event, LastTransition, Machine, MutationType, Position, Result, State
from tests.machine.rig import fail, plain


def test_second_level_of_add_pushes_nothing_out_and_comes_first() -> None:
    schema = {"A": State(add="B"), "B": State(add="C"), "C": State(add="D", remove="X")}
    machine = Machine({**schema, "D": State(), "X": State()})
    machine.add("X")
    machine.add("A")
    assert machine.active_states() == ["C", "A", "X", "B"]
    machine.add("A")
    assert not machine.is_("X")


def test_waits_do_not_hear_of_what_a_failed_transition_left_active() -> None:
    machine = plain()
    wait, context = machine.when("A"), machine.state_ctx("B")
    id = machine.bind({"BState": fail()})
    machine.add("A", "B")
    assert machine.is_("A")
    assert not wait.done()
    machine.detach(id)
    machine.remove("A")
    machine.add("A")
    assert wait.done()
    # The commit that came before the failure has expired it.
    assert context.expired


def test_recovery_expires_no_context() -> None:
    machine, kept = plain(), []

    def state(event: Event) -> None:
        kept.append(machine.state_ctx("B"))
        raise ValueError

    machine.bind({"BState": state})
    machine.add("B")
    assert machine.tick("B") == 2
    assert not kept[0].expired


def test_time_after_is_not_corrected_by_a_recovery() -> None:
    machine, ended = plain("A"), []

    class Keep(LastTransition):
        def transition_end(self, tx: object) -> None:
            ended.append(tx)

    machine.bind({"AState": fail()})
    machine.bind_tracer(Keep())
    machine.add("A")
    assert ended[0].time_after == (1, 0)
    assert machine.tick("A") == 2


def test_check_of_a_removal_keeps_its_arguments() -> None:
    machine, seen = plain("A"), []
    machine.add("A")
    machine.bind({"AExit": lambda e: seen.append((e.is_check, dict(e.args)))})
    assert machine.can_remove("A", args={"user": 1}) == Result.EXECUTED
    assert seen == [(True, {"user": 1})]


def test_first_of_an_empty_queue_is_not_found() -> None:
    machine = plain()
    for position in Position:
        assert machine.is_queued(MutationType.ADD, "A", position=position) is None


def test_unset_attribute_is_no_handler() -> None:
    class Unset:
        AState = None
        AEnter = staticmethod(lambda e: True)

    machine = plain()
    machine.bind(Unset())
    assert machine.add("A") == Result.EXECUTED
    assert not machine.is_err()


def test_known_names_are_parsed_once_and_in_order() -> None:
    assert plain().parse_states("C", "X", "A", "C", "X") == ["C", "A"]


def test_doubled_names_do_not_stand_for_missing_ones() -> None:
    machine = plain()
    with pytest.raises(SchemaError, match="C D"):
        machine.verify_states("A", "A", "A", "B", "Exception")
    assert machine.state_names == (*"ABCD", "Exception")
