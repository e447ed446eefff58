"""Queue, negotiation, errors: the reference's own tests (spec machine 11); README.md maps them."""

from __future__ import annotations

import pytest

from amzmq.machine import (
    Machine,
    MutationType,
    Result,
    State,
)
from tests.machine.checklist import from_, machine_of
from tests.machine.rig import fail, logged, plain, recorded


def test_queue() -> None:
    machine = from_(plain(), "A")
    results: list[Result] = []
    calls = recorded(machine, do={"BEnter": lambda e: results.append(e.machine.add("C"))})
    machine.set("B")
    assert results == [4]
    assert (calls.count("AnyEnter"), calls.count("AnyState")) == (2, 2)
    assert all(calls.count(name) == 1 for name in calls if "Any" not in name)
    assert machine.active_states() == ["C", "B"]


def test_queue_can_be_checked() -> None:
    machine = plain()
    seen: list[object] = []

    def state(event: object) -> None:
        for name in "BCD":
            machine.add(name)
        place = machine.is_queued(MutationType.ADD, "C")
        seen.extend([machine.queue_len, place and place.at])
        seen.extend([machine.will_be("C"), machine.will_be_removed("C")])

    machine.bind({"AState": state})
    machine.add("A")
    assert seen == [3, 1, True, False]


def test_nested_mutations_merge() -> None:
    machine = from_(plain(), "B")
    lengths: list[int] = []

    def state(event: object) -> None:
        for _ in range(3):
            machine.add("B")
        lengths.append(machine.queue_len)
        for _ in range(2):
            machine.remove("B")
        lengths.append(machine.queue_len)

    machine.bind({"AState": state})
    machine.add("A")
    assert lengths == [1, 2]
    assert machine.active_states() == ["A"]


# Negotiation and auto states.


@pytest.mark.parametrize(("change", "targets"), [("set", "(D)"), ("add", "(D A)")])
def test_negotiation_cancels(change: str, targets: str) -> None:
    machine = from_(plain(), "A")
    machine.bind({"DEnter": lambda e: False})
    lines = logged(machine)
    assert getattr(machine, change)("D") == Result.CANCELED
    assert machine.active_states() == ["A"]
    assert f"[cancel] {targets} by DEnter" in lines


def test_negotiation_cancels_a_removal() -> None:
    machine = from_(plain(), "A")
    machine.bind({"AExit": lambda e: False})
    lines = logged(machine)
    assert machine.remove("A") == Result.CANCELED
    assert "[cancel] () by AExit" in lines


def test_auto_states() -> None:
    machine = machine_of(A=State(), B=State(auto=True, require="A"))
    lines = logged(machine)
    assert machine.add("A") == Result.EXECUTED
    assert set(machine.active_states()) == {"A", "B"}
    assert "[auto] B" in lines


@pytest.mark.parametrize("name", ["Heartbeat", "Healthcheck"])
def test_health_states_trigger_no_auto_states(name: str) -> None:
    machine = Machine({name: State(), "Auto": State(auto=True)})
    machine.add(name)
    assert machine.active_states() == [name]


def test_partial_auto_states() -> None:
    machine = machine_of(A=State(auto=True), B=State(auto=True, require="C"), C=State(), D=State())
    lines = logged(machine)
    machine.add("D")
    assert set(machine.active_states()) == {"A", "D"}
    assert "[auto_] +A" in lines


def auto_machine() -> Machine:
    return machine_of(A=State(auto=True), B=State(auto=True, add="D"), C=State(), D=State())


def test_partial_auto_states_by_cross_handler() -> None:
    machine = auto_machine()
    machine.bind({"CB": lambda e: False})
    machine.add("C")
    assert set(machine.active_states()) == {"A", "C"}


def test_partial_auto_states_by_enter() -> None:
    machine = auto_machine()
    machine.bind({"BEnter": lambda e: False})
    machine.add("C")
    assert set(machine.active_states()) == {"A", "C"}


def test_partial_auto_states_by_self_handler() -> None:
    machine = auto_machine()
    machine.bind({"CC": lambda e: False})
    machine.add("C")
    assert machine.active_states() == ["C"]


def test_partial_auto_without_the_required() -> None:
    machine = machine_of(
        A=State(),
        B=State(),
        C=State(auto=True, require="B"),
        D=State(auto=True, require="B"),
    )
    lines = logged(machine)
    machine.add("A")
    assert machine.active_states() == ["A"]
    assert "[cancel:reject] C D" in lines


def test_handler_sees_the_state_of_things() -> None:
    machine = from_(plain(), "A")
    seen: list[object] = []

    def enter(event: object) -> None:
        tx = machine.transition()
        assert tx is not None
        seen.extend([machine.active_states(), tx.target, tx.called, str(tx).splitlines()[1]])

    def state(event: object) -> None:
        tx = machine.transition()
        assert tx is not None
        seen.extend([str(tx.time_index_before), str(tx.time_index_after), tx.time_index_diff()])

    machine.bind({"DEnter": enter, "DState": state})
    machine.add("D")
    assert seen == [["A"], ["D", "A"], ["D"], "[add] D", "A", "A D", (["D"], [])]


def test_cross_handlers() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine)
    machine.add("B")
    assert "AB" in calls
    assert "BA" not in calls


def test_cross_handler_cancels() -> None:
    machine = from_(plain(), "A")
    machine.bind({"AB": lambda e: False})
    assert machine.add("B") == Result.CANCELED


def test_attributes_are_handlers() -> None:
    class Holder:
        pass

    holder, calls = Holder(), []
    holder.AEnd = lambda e: calls.append("AEnd")  # type: ignore[attr-defined]
    holder.BEnd = None  # type: ignore[attr-defined]
    machine = from_(plain(), "A", "B")
    machine.bind(holder)
    machine.set("C")
    assert calls == ["AEnd"]


def test_self_handlers_can_cancel() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine, {"AA": False})
    lines = logged(machine)
    machine.set("A", "B")
    assert calls == ["BEnter", "AA"]
    assert "[cancel:self] (A B) by AA" in lines


def test_self_handlers_order() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine)
    machine.set("A", "B")
    names = ["BEnter", "AA", "AB", "AnyEnter", "BState", "AnyState"]
    assert calls == names


def test_self_handlers_of_all_unchanged_states() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine)
    machine.add("B")
    machine.add("A")
    assert (calls.count("AA"), calls.count("BB")) == (2, 1)


# Errors.


def test_partial_negotiation_panic() -> None:
    machine = from_(plain(), "A")
    machine.bind({"BEnter": fail()})
    lines = logged(machine)
    assert machine.add("B") == Result.CANCELED
    assert set(machine.active_states()) == {"A", "Exception"}
    assert "[cancel] (B A) by recover" in lines


def test_partial_final_panic() -> None:
    machine = plain()
    machine.bind({"BState": fail("BState broke")})
    lines = logged(machine)
    assert machine.add("A", "B", "C") == Result.CANCELED
    assert set(machine.active_states()) == {"A", "Exception"}
    assert "[cancel] (A B C) by recover" in lines
    assert str(machine.err()) == "BState broke"


def test_add_err_and_the_guards() -> None:
    machine = plain()
    machine.add_err_state("B", ValueError("one"))
    assert machine.is_("B", "Exception")
    with machine.panic_to_err_state("C"):
        raise ValueError("two")
    assert machine.is_("C")
    assert str(machine.err()) == "two"
    with machine.panic_to_err():
        raise ValueError("three")
    assert machine.tick("Exception") == 5


def test_handler_timeout() -> None:
    machine = plain(handler_timeout=0.0)
    machine.bind({"AState": lambda e: sum(range(1000))})
    assert machine.add("A") == Result.CANCELED
