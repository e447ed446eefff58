"""What a view and its scope answer about themselves."""

from __future__ import annotations

import pytest

from amzmq.errors import FrameInvalid
from amzmq.wire.view import EVERYTHING, Scope, View, without_relations

from .rig import NAMES, schema_of

SOURCE = schema_of(*NAMES)


@pytest.mark.parametrize(
    ("view", "partial"),
    [
        (EVERYTHING, False),
        (View(shallow=True), False),
        (View(allowed=frozenset()), True),
        (View(allowed=frozenset(["A"])), True),
        (View(skipped=frozenset(["A"])), True),
    ],
)
def test_a_view_is_partial_if_states_may_be_left_out(view: View, partial: bool) -> None:
    assert view.is_partial is partial


@pytest.mark.parametrize(
    ("view", "plain"),
    [
        (EVERYTHING, True),
        (View(mutations=True), True),
        (View(shallow=True), False),
        (View(skipped=frozenset(["A"])), False),
        (View(skipped=frozenset(["A"]), shallow=True), False),
        (View(schema=False), True),
    ],
)
def test_a_scope_is_plain_if_it_hands_on_the_ticks_unchanged(view: View, plain: bool) -> None:
    scope = Scope(view, SOURCE)
    assert scope.is_plain is plain
    ticks = [(0, 3), (1, 2), (2, 1)]
    assert (scope.ticks(ticks) == ticks) is plain


def test_the_states_of_a_mutation_have_the_indexes_of_the_stream() -> None:
    assert Scope(EVERYTHING, SOURCE).called((2, 0)) == [2, 0]
    assert Scope(View(skipped=frozenset(["A"])), SOURCE).called((2, 0, 1)) == [2, 1]
    scope = Scope(View(schema=False, skipped=frozenset(["A"])), SOURCE)
    assert scope.called((2, 0, 1)) == [1, 0]
    assert scope.schema.names == ("B", "Exception")


def test_later_fields_of_a_view_are_ignored_and_missing_ones_refused() -> None:
    view = View(False, frozenset(["A"]), frozenset(["B"]), True, False)
    value = view.value()
    assert value == [False, ["A"], ["B"], True, False]
    assert View.from_value([*value, "later"]) == view
    with pytest.raises(FrameInvalid, match="has 4 fields, 5 needed"):
        View.from_value(value[:4])


@pytest.mark.parametrize("at", range(5))
def test_each_field_of_a_view_is_looked_at(at: int) -> None:
    value: list[object] = [True, None, [], False, False]
    with pytest.raises(FrameInvalid, match="^view: "):
        View.from_value([*value[:at], 7, *value[at + 1 :]])


def test_states_without_relations_keep_their_names_and_order() -> None:
    assert without_relations(["B", "A", "Exception"]).names == ("B", "A", "Exception")
