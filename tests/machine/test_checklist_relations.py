"""States and relations: the reference's own tests (spec machine 11); README.md maps the names."""

from __future__ import annotations

import itertools

import pytest

from amzmq.errors import StateUnknown
from amzmq.machine import (
    Machine,
    Result,
    State,
)
from amzmq.machine.compiled import compile_schema
from amzmq.machine.resolver import sort_states
from tests.machine.checklist import from_, machine_of
from tests.machine.rig import in_order, logged, plain, recorded


def test_single_state_active() -> None:
    assert from_(plain(), "A").active_states() == ["A"]


def test_multiple_states_active() -> None:
    machine = from_(plain(), "A")
    machine.add("B")
    assert machine.is_("A", "B")


def test_all_state_names_are_exposed() -> None:
    assert plain().state_names == ("A", "B", "C", "D", "Exception")


def test_set_add_and_remove() -> None:
    machine = from_(plain(), "A")
    machine.set("B")
    assert machine.active_states() == ["B"]
    machine.add("C")
    machine.remove("C")
    assert machine.active_states() == ["B"]


def test_unknown_state_raises() -> None:
    with pytest.raises(StateUnknown, match="missing states: E not defined in schema for"):
        plain().set("E")


def test_relations_of_a_state_and_between_states() -> None:
    machine = machine_of(A=State(add="B", require="C"), B=State(), C=State())
    assert machine.relations_of("A") == ["add", "require"]
    assert machine.relations_between("A", "B") == ["add"]
    ordered = machine_of(A=State(add="B", after="B"), B=State())
    assert ordered.relations_between("A", "B") == ["add", "after"]
    with pytest.raises(StateUnknown):
        machine.relations_between("A", "Unknown")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("C", "AExit BExit CEnter AC BC AnyEnter AEnd BEnd CState AnyState"),
        ("DC", "AExit BExit DEnter CEnter AD AC BD BC AnyEnter AEnd BEnd DState CState AnyState"),
        ("A", "BExit AA BA AnyEnter BEnd AnyState"),
    ],
)
def test_transitions_from_two_states(target: str, expected: str) -> None:
    machine = from_(plain(), "A", "B")
    calls = recorded(machine)
    machine.set(*target)
    assert calls == expected.split()


def test_single_to_multi_state_transition() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine)
    machine.set("B", "C")
    assert calls == "AExit BEnter CEnter AB AC AnyEnter AEnd BState CState AnyState".split()


def test_after_relation_when_entering() -> None:
    machine = machine_of(A=State(), C=State(after="D"), D=State())
    from_(machine, "A")
    calls = recorded(machine)
    machine.set("C", "D")
    assert in_order(calls, "DEnter", "CEnter", "AD", "AC")


def test_after_relation_when_exiting() -> None:
    machine = machine_of(A=State(after="B"), B=State(), C=State(), D=State())
    from_(machine, "A", "B")
    calls = recorded(machine)
    machine.set("D", "C")
    assert in_order(calls, "BExit", "AExit")
    assert {"AD", "AC", "BD", "BC"} <= set(calls)


def test_require_order() -> None:
    schema = {
        "A": State(auto=True, require=["B", "C"]),
        "B": State(auto=True, require="D"),
        "C": State(auto=True),
        "D": State(),
    }
    machine = Machine(schema)
    calls = recorded(machine)
    machine.add("D")
    assert calls.index("DState") < calls.index("BState") < calls.index("AState")
    assert calls.index("CState") < calls.index("AState")
    assert (calls.count("AnyEnter"), calls.count("AnyState")) == (2, 2)
    assert all(calls.count(name) == 1 for name in calls if "Any" not in name)
    compiled = compile_schema(schema)
    names = [
        "".join(compiled.names[at] for at in sort_states(compiled, order))
        for order in itertools.permutations(range(4))
    ]
    assert set(names) == {"DBCA"}


def test_remove_relation() -> None:
    machine = from_(machine_of(C=State(remove="D"), D=State()), "D")
    machine.add("C")
    assert machine.active_states() == ["C"]


def test_remove_relation_simultaneous() -> None:
    machine = from_(machine_of(C=State(remove="D"), D=State()), "D")
    lines = logged(machine)
    assert machine.set("C", "D") == Result.CANCELED
    assert "[rel:remove] D by C" in lines
    assert machine.active_states() == ["D"]


@pytest.mark.parametrize("change", ["set", "add"])
def test_remove_relation_cross_blocking(change: str) -> None:
    machine = from_(machine_of(C=State(remove="D"), D=State(remove="C")), "D")
    for state in "CDC":
        assert getattr(machine, change)(state) == Result.EXECUTED
        assert machine.active_states() == [state]


def test_add_relation() -> None:
    machine = machine_of(A=State(remove="D"), C=State(add="D"), D=State())
    machine.set("C")
    assert set(machine.active_states()) == {"C", "D"}
    machine.set("A", "C")
    assert set(machine.active_states()) == {"A", "C"}


def test_require_relation() -> None:
    machine = machine_of(A=State(), C=State(require="D"), D=State())
    machine.set("C", "D")
    assert set(machine.active_states()) == {"C", "D"}
    from_(machine, "A")
    lines = logged(machine)
    machine.set("C", "A")
    assert machine.active_states() == ["A"]
    assert "[reject] C(-D)" in lines


def test_remove_of_an_implied_multi_state() -> None:
    machine = machine_of(A=State(multi=True, add="B", require="C"), B=State(require="C"), C=State())
    machine.set("A", "B", "C")
    machine.remove("B")
    assert set(machine.active_states()) == {"A", "C"}


def test_regression_remove_cross_blocked_by_implied() -> None:
    machine = machine_of(A=State(remove="B"), B=State(remove="A"), Z=State(add="B"))
    machine.set("Z")
    assert set(machine.active_states()) == {"Z", "B"}


def test_regression_implied_block_by_being_removed() -> None:
    machine = machine_of(
        Dry=State(remove="Wet"),
        Water=State(add="Wet", remove="Dry"),
        Wet=State(require="Water"),
    )
    machine.set("Dry")
    machine.set("Water")
    assert set(machine.active_states()) == {"Water", "Wet"}
