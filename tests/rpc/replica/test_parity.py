"""A state is active while its tick is odd, whatever else is in the number."""

from __future__ import annotations

import pytest

from amzmq.machine import State
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.rpc.replica.clock import ReplicaClock, differences
from amzmq.wire.writer import Snapshot

VIEW = [0, 2]
"""Seen and Exception; Hidden, which Seen requires, is outside of it."""


def schema(*more: str) -> CompiledSchema:
    names = ("Seen", "Hidden", "Exception", *more)
    states = {name: State(require=["Hidden"] if name == "Seen" else []) for name in names}
    return compile_schema(states, names)


@pytest.mark.parametrize("tick", range(1, 8))
def test_a_snapshot_shows_what_is_active_and_what_that_requires(tick: int) -> None:
    clock = ReplicaClock(schema(), VIEW)
    clock.restore(Snapshot(1, (tick, 0, 0), 1, 0, 0, 0))
    active = {"Seen", "Hidden"} if tick % 2 else set()
    assert clock.active_names() == active
    assert clock.ticks == [tick, tick % 2, 0]


@pytest.mark.parametrize("tick", range(1, 8))
def test_another_schema_shows_what_is_active_and_what_that_requires(tick: int) -> None:
    clock = ReplicaClock(schema(), VIEW)
    clock.apply([0, tick], 1, 0)
    clock.adopt_schema(schema("New"), VIEW)
    active = {"Seen", "Hidden"} if tick % 2 else set()
    assert clock.active_names() == active
    assert clock.ticks == [tick, tick % 2, 0, 0]


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4, 8))
def test_a_state_becomes_active_or_inactive_where_its_tick_changes_parity(
    before: int, after: int
) -> None:
    ticked, activated, deactivated = differences([before], [after])
    assert list(ticked) == [0]
    assert list(activated) == ([0] if after % 2 and not before % 2 else [])
    assert list(deactivated) == ([0] if before % 2 and not after % 2 else [])
