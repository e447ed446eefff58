"""Views: who sees what, and in which indexes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amzmq.errors import FrameInvalid, SchemaMismatch
from amzmq.machine import State
from amzmq.machine.compiled import compile_schema
from amzmq.wire.feed import Update, parse_body
from amzmq.wire.view import EVERYTHING, Scope, View
from amzmq.wire.writer import Cause, StreamWriter

from .rig import EPOCH, ID, Replica, Source, schema_of, writer_of

SCHEMA = compile_schema(
    {"A": State(require="C"), "B": State(multi=True), "C": State(), "D": State(remove="C")}
)
NAMES = SCHEMA.names  # A B C D Exception

views = st.builds(
    View,
    st.booleans(),
    st.none() | st.frozensets(st.sampled_from(NAMES)),
    st.frozensets(st.sampled_from(NAMES)),
    st.booleans(),
    st.booleans(),
)


def allowed(*names: str, schema: bool = True, skipped: tuple[str, ...] = ()) -> View:
    return View(schema=schema, allowed=frozenset(names), skipped=frozenset(skipped))


@given(views)
def test_a_view_arrives_as_it_was_sent(view: View) -> None:
    assert View.from_value(view.value()) == view


def test_everything_needs_no_words() -> None:
    assert View().value() is None
    assert View.from_value(None) == EVERYTHING


@pytest.mark.parametrize(
    "value",
    [[], [True, None, [], False], [1, None, [], False, False], [True, "A", [], False, False],
     [True, None, None, False, False], [True, [1], [], False, False]],
)  # fmt: skip
def test_what_is_no_view_is_named(value: list[object]) -> None:
    with pytest.raises(FrameInvalid, match="view"):
        View.from_value(value)


def test_every_mutation_wins_over_shallow_clocks() -> None:
    assert not View(shallow=True, mutations=True).shallow


def test_with_schema_the_indexes_are_the_machines_own() -> None:
    scope = Scope(allowed("C", "B"), SCHEMA)
    assert scope.schema.names == NAMES
    assert scope.tracked == [1, 2]
    assert scope.ticks([(0, 3), (1, 5), (2, 7)]) == [(1, 5), (2, 7)]
    assert list(scope.to_source) == [0, 1, 2, 3, 4]


def test_without_schema_the_indexes_are_those_of_the_tracked_states() -> None:
    scope = Scope(allowed("C", "B", schema=False), SCHEMA)
    assert scope.schema.names == ("B", "C", "Exception")
    assert scope.tracked == [0, 1]
    assert scope.ticks([(0, 3), (1, 5), (2, 7)]) == [(0, 5), (1, 7)]
    assert list(scope.to_source) == [1, 2, 4]
    assert not any(state.require or state.remove for state in scope.schema.states.values())


def test_skipped_states_are_taken_out_of_the_allowed_ones() -> None:
    assert Scope(allowed("A", "B", "C", skipped=("C",)), SCHEMA).tracked == [0, 1]


def test_nothing_allowed_is_not_everything_allowed() -> None:
    assert Scope(View(allowed=frozenset()), SCHEMA).tracked == []
    assert Scope(View(), SCHEMA).tracked is None


def test_a_view_of_unknown_states_names_them() -> None:
    with pytest.raises(SchemaMismatch, match=r"names X Y, which .* it has: A B C D"):
        Scope(allowed("A", "X", skipped=("Y",)), SCHEMA)


def test_shallow_clocks_are_zero_and_one() -> None:
    stream = StreamWriter(ID, EPOCH, SCHEMA, View(shallow=True))
    stream.begin([(0, 5), (1, 4)], 3, 0)
    assert stream.snapshot().ticks == (1, 0, 0, 0, 0)
    frame = stream.update([(0, 8), (1, 7)], 4, 0)
    assert frame is not None
    update = parse_body(frame[len(ID) :])
    assert isinstance(update, Update)
    assert update.changes == [0, -1, 1, 1]


def test_a_change_outside_of_the_view_moves_only_the_queue_tick() -> None:
    stream = StreamWriter(ID, EPOCH, SCHEMA, allowed("A"))
    stream.begin([], 1, 0)
    frame = stream.update([(1, 1)], 2, 0)
    assert frame is not None
    update = parse_body(frame[len(ID) :])
    assert isinstance(update, Update)
    assert (update.changes, update.queue_ticks) == ([], 1)


def test_the_mutation_that_made_an_update_is_told_in_the_streams_indexes() -> None:
    view = View(schema=False, allowed=frozenset("BC"), mutations=True)
    stream = StreamWriter(ID, EPOCH, SCHEMA, view)
    frame = stream.update([(0, 1), (1, 1)], 1, 0, Cause(0, [0, 1, 3]))
    assert frame is not None
    replica = Replica(stream.names)
    replica.reader.restore(StreamWriter(ID, EPOCH, SCHEMA, view).snapshot())
    replica.reader.push(frame, len(ID))
    assert replica.causes == [(0, [0])]
    assert replica.ticks == [1, 0, 0]


def test_a_grown_schema_keeps_ticks_by_name_and_the_checksums_right() -> None:
    source = Source()
    replica = Replica()
    replica.reader.restore(source.writer.snapshot())
    replica.reader.push(source.tick(0, 1))
    grown = source.writer.change_schema(schema_of("New", "B", "A", "Exception"))
    replica.reader.push(grown, len(ID))
    frame = source.writer.update([(0, 1), (2, 2)], 9, 0)
    assert frame is not None
    replica.reader.push(frame, len(ID))
    assert dict(zip(replica.names, replica.ticks, strict=True)) == {
        "New": 1, "B": 1, "A": 2, "Exception": 0,
    }  # fmt: skip
    assert replica.reader.counters.mismatches == 0


def test_a_view_by_names_tracks_after_growth_what_it_named_before() -> None:
    stream = writer_of(view=View(allowed=frozenset("B")))
    stream.change_schema(schema_of("New", "A", "B", "Exception"))
    assert stream.scope.tracked == [2]
    skipping = writer_of(view=View(skipped=frozenset("B")))
    skipping.change_schema(schema_of("New", "A", "B", "Exception"))
    assert skipping.scope.tracked == [0, 1, 3]


def test_a_snapshot_can_bring_the_schema_along() -> None:
    source = Source()
    replica = Replica()
    replica.reader.restore(source.writer.snapshot())
    source.writer.change_schema(schema_of("A", "B", "Exception", "New"))
    replica.reader.restore(source.writer.snapshot(), source.writer.schema, [0, 3])
    assert replica.names == ("A", "B", "Exception", "New")
    assert replica.tracked == [0, 3]
    assert replica.reader.number == source.writer.head


def test_a_schema_that_lacks_states_is_refused_and_changes_nothing() -> None:
    source = Source()
    replica = Replica()
    replica.reader.restore(source.writer.snapshot())
    other = StreamWriter(ID, EPOCH, schema_of("A", "Exception"))
    with pytest.raises(SchemaMismatch):
        replica.reader.push(other.change_schema(schema_of("A", "Exception", "X")), len(ID))
    assert replica.names == ("A", "B", "Exception")
    assert replica.reader.number == 0
