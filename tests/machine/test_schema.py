"""Schemas: definitions, classes, sanitising, compiling, tools (spec machine 1)."""

from __future__ import annotations

import itertools
import random

import pytest

from amzmq.errors import SchemaError
from amzmq.machine import (
    Machine,
    State,
    States,
    adjacent_states,
    extend,
    filter_by_tag,
    merge,
    prefix,
    schema_mermaid,
    states_by_tag,
)
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.machine.resolver import sort_states
from amzmq.machine.schema import parse_schema


class Base(States):
    Start = State()
    Ready = State(require=Start, tags=["x", "y:1"])


class Door(Base):
    Closed = State(remove="Open")
    Open = State(remove=Closed, require=Base.Start)
    Ready = State(auto=True, add=Open)


# Definitions and classes.


def test_class_has_its_states_in_order_with_inherited_ones_first() -> None:
    assert Door.names() == ("Start", "Ready", "Closed", "Open", "Exception")
    assert Door.schema()["Ready"] == State(auto=True, add="Open")
    assert Door.Open == "Open"
    assert Door.groups() == {"self": ("Closed", "Open"), "Base": ("Start", "Ready")}


def test_relations_may_name_state_objects_in_a_mapping_too() -> None:
    a = State()
    assert Machine({"A": a, "B": State(require=[a, "A"])}).schema["B"].require == ("A", "A")


def test_definitions_that_make_no_sense_are_refused() -> None:
    with pytest.raises(SchemaError, match="not a state of this schema"):
        Machine({"A": State(require=State())})
    with pytest.raises(SchemaError, match="relation takes state names"):
        State(add=[5])  # type: ignore[list-item]
    shared = State()
    with pytest.raises(SchemaError, match="one State object"):
        type("Twice", (States,), {"A": shared, "B": shared})


def test_helpers_of_a_state_make_copies() -> None:
    state = State(auto=True, add="A", require="R", tags="t")
    overlay = State(multi=True, add=["A", "B"], remove="X", tags="other")
    assert state.extend(overlay) == State(
        auto=True, multi=True, add=["A", "B"], require="R", remove="X", tags="t"
    )
    assert state.set(False, True, overlay) == State(
        multi=True, add=["A", "B"], require="R", remove="X", tags="t"
    )
    assert state.set_rels(overlay).auto
    assert state.clone() == state
    assert state.clone() is not state
    assert state.has_tag("t")
    assert not state.has_tag("other")
    assert state != "state"
    assert repr(state) == "State(auto=True, require=('R',), add=('A',), tags=('t',))"


# Sanitising (1.3).


def parsed(**states: State) -> dict[str, State]:
    return parse_schema(states)[0]


def test_self_references_and_unknown_names_are_dropped() -> None:
    state = parsed(A=State(remove=["A", "Y"], after=["A", "X"], add=["A", "X"], require=["A"]))["A"]
    assert (state.remove, state.after, state.add, state.require) == ((), (), ("A",), ("A",))


def test_only_the_first_of_two_equal_names_is_dropped() -> None:
    # A quirk of the reference (1.3).
    assert parsed(A=State(remove=["A", "A"]))["A"].remove == ("A",)


def test_added_state_is_not_removed() -> None:
    state = parsed(A=State(add="B", remove="B"), B=State())["A"]
    assert (state.add, state.remove) == (("B",), ())


def test_unknown_name_in_add_and_remove_adds_nothing() -> None:
    machine = Machine({"A": State(add="X", remove="X")})
    machine.add("A")
    assert machine.active_states() == ["A"]


def test_unknown_requirement_makes_a_state_impossible() -> None:
    machine = Machine({"A": State(require="X")})
    assert str(machine.add("A")) == "canceled"


def test_exception_is_added_after_sanitising() -> None:
    machine = Machine({"A": State(remove="Exception"), "B": State(require="Exception")})
    assert machine.schema["A"].remove == ()
    machine.add("Exception", "B")
    machine.add("A")
    assert set(machine.active_states()) == {"Exception", "B", "A"}
    declared = Machine({"A": State(remove="Exception"), "Exception": State()})
    assert declared.schema["Exception"] == State()
    assert declared.schema["A"].remove == ("Exception",)


# Compiling.


def test_equal_schemas_share_their_compiled_form_and_their_plans() -> None:
    one, other = (
        Machine({"A": State(add="B"), "B": State()}),
        Machine({"A": State(add="B"), "B": State()}),
    )
    assert one._compiled is other._compiled
    assert one._compiled.plans is other._compiled.plans
    assert Machine({"A": State(), "B": State()})._compiled is not one._compiled


def test_cycle_of_requirements_leaves_all_ranks_out() -> None:
    compiled = CompiledSchema(
        {"A": State(require="B"), "B": State(require="A"), "C": State(require="A")}
    )
    assert compiled.require_cycle is not None
    assert set(compiled.require_rank) == {-1}


def test_requirements_come_first_in_any_order() -> None:
    schema = {"A": State(require=["B", "C"]), "B": State(require="C"), "C": State(), "D": State()}
    compiled = compile_schema(schema)
    for order in itertools.permutations(range(4)):
        found = sort_states(compiled, order)
        assert found.index(2) < found.index(1) < found.index(0)


def test_after_is_honoured_between_neighbours_only() -> None:
    # A quirk of the reference (4.4).
    compiled = compile_schema({"C": State(after="D"), "D": State(), "X": State()})
    c, d, x = (compiled.index[name] for name in "CDX")
    assert sort_states(compiled, [c, x, d]) == [c, x, d]
    assert sort_states(compiled, [x, c, d]) == [x, d, c]


@pytest.mark.parametrize("count", [5, 20, 21, 40, 41, 60, 100, 163])
def test_sorting_of_any_length_is_stable_and_loses_nothing(count: int) -> None:
    names = [f"S{at}" for at in range(count)]
    # A chain: a total order among neighbours in it, and nothing said of the others.
    after = {name: State(after=names[:at]) for at, name in enumerate(names)}
    compiled = compile_schema(after)
    order = list(range(count))
    random.Random(count).shuffle(order)
    assert sort_states(compiled, order) == list(range(count))
    plain = compile_schema({name: State() for name in names})
    assert sort_states(plain, order) == order


# Tools.


def test_merge_replaces_whole_states_and_extend_appends() -> None:
    one = {"A": State(add="B"), "B": State()}
    other = {"A": State(remove="C"), "C": State()}
    assert merge(one, other) == {"A": State(remove="C"), "B": State(), "C": State()}
    assert extend(one, other)["A"] == State(add="B", remove="C")
    assert list(extend(one, other)) == ["A", "B", "C"]
    assert merge(Base, Door) == merge(Door)


def test_prefix_renames_states_and_references() -> None:
    schema = {"A": State(require=["B", "C"]), "B": State(), "C": State()}
    assert prefix(schema, "Db") == {
        "DbA": State(require=["DbB", "DbC"]),
        "DbB": State(),
        "DbC": State(),
    }
    assert list(prefix(schema, "Db", skip=["C"])) == ["DbA", "DbB", "C"]
    assert prefix(schema, "Db", allow=["B"])["A"].require == ("DbB", "C")
    again = prefix({"DbA": State(add="B"), "B": State(add="DbA")}, "Db", remove_dups=True)
    # A quirk of the reference (1.2): the owner's name decides about its references.
    assert again == {"DbA": State(add="B"), "DbB": State(add="DbDbA")}


def test_states_are_found_by_tag_and_by_neighbourhood() -> None:
    schema = {"A": State(tags=["x:1", "y"]), "B": State(tags="x"), "C": State(tags="xx")}
    assert states_by_tag(schema, "x") == ["A", "B"]
    assert list(filter_by_tag(schema, "x", "xx")) == ["B", "C"]
    state = State(add="B", after="C", require="B", remove="D")
    assert adjacent_states({"A": state}, "A") == ["B", "C", "D"]


def test_inbound_relations_are_listed_once_each() -> None:
    machine = Machine(
        {"A": State(add="A"), "B": State(add="A", require="A"), "C": State(after="A")}
    )
    assert machine.inbound_relations_of("A") == ["B", "B", "C"]
    assert machine.relations_of("C") == ["after"]
    assert machine.parse_states("C", "Unknown", "A", "C") == ["C", "A"]


def test_mermaid_shows_relations_and_what_is_active() -> None:
    machine = Machine(Door)
    machine.add("Start")
    lines = schema_mermaid(machine).splitlines()
    assert lines[0] == "flowchart LR"
    assert '    s1(["Ready"])' in lines
    assert '    s4[["Exception"]]' in lines
    assert "    s3 -->|require| s0" in lines
    assert "    s2 --x|remove| s3" in lines
    assert (
        lines[-1]
        == f"    class {','.join(f's{machine.index(n)}' for n in machine.active_states())} active"
    )
    assert "class" not in schema_mermaid(Door)


def test_mermaid_leaves_unknown_requirements_out() -> None:
    assert "require" not in schema_mermaid({"A": State(require="Unknown")})


def test_cycle_of_added_states_ends() -> None:
    machine = Machine({"A": State(add="B"), "B": State(add="A")})
    machine.add("A")
    assert set(machine.active_states()) == {"A", "B"}
