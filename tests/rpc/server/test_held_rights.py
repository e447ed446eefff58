"""The rights of a client on a machine are asked for again with each schema of it."""

from __future__ import annotations

from amzmq.machine import State
from amzmq.rpc.server.held_rights import HeldRights
from amzmq.rpc.server.rights import READ_ONLY, MachineRights
from tests.rpc.rig import machine


def test_rights_are_asked_for_once_a_schema() -> None:
    source, asked = machine(), []

    def ask() -> MachineRights:
        asked.append(source.state_names)
        return READ_ONLY.on(source.id, source.state_names)

    held = HeldRights(source, ask)
    assert held.are_limited
    first = held.now
    assert held.now is first
    assert asked == [source.state_names]
    source.set_schema({**source.schema, "New": State()}, [*source.state_names, "New"])
    grown = held.now
    assert grown is not None
    assert first is not None
    assert grown.every > first.every
    assert held.now is grown
    assert len(asked) == 2


def test_without_a_policy_nothing_is_limited_and_nobody_asked() -> None:
    source = machine()
    held = HeldRights(source, None)
    assert not held.are_limited
    assert held.now is None
    source.set_schema({**source.schema, "New": State()}, [*source.state_names, "New"])
    assert held.now is None
