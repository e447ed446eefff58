"""A schema travels whole, and its hash tells one from another."""

from __future__ import annotations

import pytest

from amzmq.errors import FrameInvalid
from amzmq.machine import Machine, State
from amzmq.states import ClientStates
from amzmq.wire.codec import decode, encode
from amzmq.wire.schema import schema_from_value, schema_hash, schema_value

DOOR = {
    "Open": State(remove=["Closed"], tags=["visible"]),
    "Closed": State(auto=True, remove=["Open"]),
    "Alarm": State(multi=True, require=["Open"], add=["Lamp"]),
    "Lamp": State(after=["Alarm"]),
}


@pytest.mark.parametrize("schema", [DOOR, ClientStates, {}])
def test_a_schema_arrives_with_its_order_relations_and_tags(schema: object) -> None:
    compiled = Machine(schema).compiled  # type: ignore[arg-type]
    arrived = schema_from_value(decode(encode(schema_value(compiled))))
    assert arrived.names == compiled.names
    assert {name: repr(arrived.states[name]) for name in arrived.names} == {
        name: repr(compiled.states[name]) for name in compiled.names
    }
    assert schema_hash(arrived) == schema_hash(compiled)


@pytest.mark.parametrize(
    "change",
    [
        {"Open": State(remove=["Closed"])},
        {"Open": State(tags=["visible"])},
        {"Open": State(remove=["Closed"], tags=["visible"], multi=True)},
        {"Closed": State(remove=["Open"])},
        {"Alarm": State(multi=True, require=["Open"], after=["Lamp"])},
        {"New": State()},
    ],
)
def test_every_difference_changes_the_hash(change: dict[str, State]) -> None:
    assert schema_hash(Machine(DOOR).compiled) != schema_hash(Machine({**DOOR, **change}).compiled)


def test_another_order_has_another_hash() -> None:
    backwards = dict(reversed(DOOR.items()))
    assert schema_hash(Machine(DOOR).compiled) != schema_hash(Machine(backwards).compiled)


def test_a_schema_that_is_not_given_in_its_own_order_is_one_of_that_order() -> None:
    names = ["Exception", "Lamp", "Alarm", "Closed", "Open"]
    ordered = Machine(DOOR, states=names).compiled
    assert schema_from_value(schema_value(ordered)).names == tuple(names)
    assert schema_hash(ordered) != schema_hash(Machine(DOOR).compiled)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "NoneType is no list of states"),
        ([1], "1 is no state"),
        ([["A", 0, [], [], []]], "is no state"),
        ([[1, 0, [], [], [], [], []]], "has no name or no flags"),
        ([["", 0, [], [], [], [], []]], "has no name or no flags"),
        ([["A", True, [], [], [], [], []]], "has no name or no flags"),
        ([["A", 0, [1], [], [], [], []]], r"state A has a relation \[1\]"),
        ([["A", 0, [], [], "B", [], []]], "state A has a relation 'B'"),
        ([["A", 0, [], [], [], [], []]], "Exception"),
    ],
)
def test_what_is_no_schema_is_invalid_and_says_why(value: object, said: str) -> None:
    with pytest.raises(FrameInvalid, match=said):
        schema_from_value(value)


def test_further_fields_of_a_state_are_ignored() -> None:
    value = [[*row, "later"] for row in schema_value(Machine(DOOR).compiled)]  # type: ignore[misc]
    assert schema_hash(schema_from_value(value)) == schema_hash(Machine(DOOR).compiled)
