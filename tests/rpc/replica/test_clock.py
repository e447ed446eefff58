"""The clock that replicas share: what it shows of updates, snapshots, schemas and other clocks."""

from __future__ import annotations

import pytest

from amzmq.errors import FrameInvalid, SchemaMismatch
from amzmq.machine import State
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.rpc.replica.clock import ReplicaClock, differences
from amzmq.wire.schema import schema_value
from amzmq.wire.writer import Snapshot

NAMES = ("Seen", "Hidden", "Other", "Exception")


def schema(*more: str) -> CompiledSchema:
    """Seen requires Hidden."""
    names = (*NAMES, *more)
    states = {name: State(require=["Hidden"] if name == "Seen" else []) for name in names}
    return compile_schema(states, names)


def snapshot(*ticks: int) -> Snapshot:
    return Snapshot(1, ticks, 5, 2, 0, 0)


def shown(clock: ReplicaClock) -> tuple[list[int], set[str]]:
    return list(clock.ticks), set(clock.active_names())


def test_a_new_clock_stands_at_the_beginning() -> None:
    clock = ReplicaClock(schema(), [0])
    assert shown(clock) == ([0, 0, 0, 0], set())
    assert (clock.queue_tick, clock.machine_tick, clock.tracked) == (1, 0, [0])
    assert (clock.watching, clock.replicas) == (0, ())


def test_updates_add_ticks_and_tell_what_is_active() -> None:
    clock = ReplicaClock(schema())
    clock.apply([0, 1, 2, 2], 3, 1)
    assert shown(clock) == ([1, 0, 2, 0], {"Seen"})
    assert (clock.queue_tick, clock.machine_tick) == (4, 1)
    assert clock.active_names() is clock.active_names()
    clock.apply([0, 3, 2, 1], 1, 0)
    assert shown(clock) == ([4, 0, 3, 0], {"Other"})


def test_what_an_active_state_requires_is_active_outside_of_the_view_too() -> None:
    clock = ReplicaClock(schema(), [0, 2])
    clock.apply([0, 1], 1, 0)
    assert shown(clock) == ([1, 1, 0, 0], {"Seen", "Hidden"})
    clock.apply([2, 1], 1, 0)
    assert shown(clock) == ([1, 1, 1, 0], {"Seen", "Hidden", "Other"})
    clock.apply([0, 1], 1, 0)
    assert shown(clock) == ([2, 0, 1, 0], {"Other"})


def test_a_snapshot_replaces_all_and_what_follows_from_it_is_inferred() -> None:
    clock = ReplicaClock(schema(), [0, 2])
    clock.apply([2, 1], 1, 0)
    clock.restore(snapshot(3, 0, 0, 0))
    assert shown(clock) == ([3, 1, 0, 0], {"Seen", "Hidden"})
    assert (clock.queue_tick, clock.machine_tick) == (5, 2)
    clock.restore(snapshot(4, 0, 0, 0))
    assert shown(clock) == ([4, 0, 0, 0], set())


def test_another_schema_keeps_the_ticks_by_name_and_what_was_told_apart() -> None:
    clock = ReplicaClock(schema(), [0, 2])
    clock.restore(snapshot(3, 0, 5, 0))
    now = clock.adopt(schema_value(schema("New")), [0, 2, 4])
    assert now == (schema("New").names, [3, 0, 5, 0, 0], 5, 2)
    assert shown(clock) == ([3, 1, 5, 0, 0], {"Seen", "Hidden", "Other"})
    assert clock.tracked == [0, 2, 4]
    clock.apply([0, 1, 4, 1], 1, 0)
    assert shown(clock) == ([4, 0, 5, 0, 1], {"Other", "New"})


def test_a_schema_that_lacks_states_changes_nothing() -> None:
    clock = ReplicaClock(schema("New"))
    clock.apply([4, 1], 1, 0)
    with pytest.raises(SchemaMismatch, match="has no New any more"):
        clock.adopt(schema_value(schema()), None)
    assert shown(clock) == ([0, 0, 0, 0, 1], {"New"})
    clock.must_have(NAMES)
    with pytest.raises(SchemaMismatch, match="has no Other2"):
        clock.must_have((*NAMES, "Other2"))


@pytest.mark.parametrize("tracked", [[4], [-1], [0, 9]])
def test_a_view_of_states_that_are_not_there_is_refused_and_changes_nothing(
    tracked: list[int],
) -> None:
    with pytest.raises(FrameInvalid, match="tracked"):
        ReplicaClock(schema(), tracked)
    clock = ReplicaClock(schema(), [0])
    with pytest.raises(FrameInvalid, match="tracked"):
        clock.adopt(schema_value(schema()), tracked)
    assert clock.tracked == [0]


def test_a_clock_shows_what_an_older_one_shows_until_its_first_snapshot() -> None:
    older = ReplicaClock(schema(), [0, 2])
    older.restore(snapshot(3, 0, 4, 0))
    clock = ReplicaClock(schema("New"), [0, 2, 4])
    clock.inherit(older)
    assert shown(clock) == ([3, 1, 4, 0, 0], {"Seen", "Hidden"})
    assert (clock.queue_tick, clock.machine_tick) == (5, 2)
    clock.apply([0, 1], 1, 0)  # Hidden was only inferred
    assert shown(clock) == ([4, 0, 4, 0, 0], set())


def test_differences_are_what_ticked_and_what_became_active_or_inactive() -> None:
    assert differences([0, 1, 2, 3], [1, 2, 2, 5]) == ([0, 1, 3], [0], [1])
    assert differences([0, 0], [2, 1]) == ([0, 1], [1], [])


def test_what_is_inferred_follows_the_relations_of_another_schema() -> None:
    clock = ReplicaClock(schema(), [0, 2])
    clock.restore(snapshot(3, 0, 4, 0))
    assert clock.active_names() == {"Seen", "Hidden"}
    names = (*NAMES, "New")
    needs = {"Seen": ["New"]}
    grown = compile_schema({name: State(require=needs.get(name, [])) for name in names}, names)
    clock.adopt(schema_value(grown), [0, 2])
    assert shown(clock) == ([3, 0, 4, 0, 1], {"Seen", "New"})
    clock.apply([0, 1], 1, 0)
    assert shown(clock) == ([4, 0, 4, 0, 0], set())
    clock.adopt(schema_value(grown), None)
    clock.apply([0, 1], 1, 0)
    assert shown(clock) == ([5, 0, 4, 0, 0], {"Seen"})


class Listener:
    """A replica, as far as its clock knows it."""

    is_listening = True

    def __init__(self) -> None:
        self.heard: list[tuple[list[int], list[int], list[int]]] = []

    def told(self, ticked: list[int], on: list[int], off: list[int], *rest: object) -> None:
        self.heard.append((ticked, on, off))


def test_each_replica_of_a_clock_is_told_until_it_leaves() -> None:
    clock, one, two = ReplicaClock(schema()), Listener(), Listener()
    for listener in (one, two):
        clock.attach(listener)  # type: ignore[arg-type]
    clock.apply([0, 1, 2, 2], 1, 0)
    assert clock.replicas == (one, two)
    clock.detach(one)  # type: ignore[arg-type]
    clock.apply([0, 1], 1, 0)
    assert clock.replicas == (two,)
    assert one.heard == [([0, 2], [0], [])]
    assert two.heard == [([0, 2], [0], []), ([0], [], [0])]


def test_a_clock_is_watched_while_one_of_its_replicas_listens() -> None:
    clock, one, two = ReplicaClock(schema()), Listener(), Listener()
    assert not clock.is_watched
    one.is_listening = two.is_listening = False
    for listener in (one, two):
        clock.attach(listener)  # type: ignore[arg-type]
    assert not clock.is_watched
    two.is_listening = True
    assert clock.is_watched
