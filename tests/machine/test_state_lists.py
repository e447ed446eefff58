"""Lists of names (spec machine 2.3), and the fields of queued mutations (3.1)."""

from __future__ import annotations

from amzmq.machine import (
    Event,
    Mutation,
    MutationType,
    states_at,
    states_equal,
    states_hash,
    states_matching,
    states_shared,
    states_union,
    states_without,
)
from tests.machine.rig import Recorder, plain


def test_lists_are_combined_in_order_and_without_doubles() -> None:
    assert states_union(["B", "A", "B"], ["C", "A"]) == ["B", "A", "C"]
    assert states_union() == []
    assert states_without(["C", "A", "B", "C"], ["A"]) == ["C", "B"]
    assert states_without(["A", "B"], ["A"], ["B"]) == []
    assert states_shared(["C", "A", "C", "B"], ["B", "C"]) == ["C", "B"]


def test_lists_are_compared_as_sets() -> None:
    assert states_equal(["A", "B"], ["B", "A", "A"])
    assert not states_equal(["A"], ["A", "B"])


def test_names_are_chosen_by_pattern_and_by_index() -> None:
    assert states_matching(["ErrA", "B", "ErrA", "MyErr"], "Err$|^Err") == ["ErrA", "MyErr"]
    assert states_at(["A", "B"], [1, 0, 2, -1]) == ["B", "A", "unknown2", "unknown-1"]


def test_hash_depends_on_names_and_order() -> None:
    # The first digits of md5("A,B").
    assert states_hash(["A", "B"]) == "6c30"
    assert states_hash(["B", "A"]) != states_hash(["A", "B"])


def test_mutations_know_how_they_were_queued() -> None:
    machine, seen = plain("A", "B", "C", "D"), []
    tracer = Recorder()

    def fields(mutation: Mutation) -> tuple[int, int, int, int]:
        return (
            mutation.queue_tick,
            mutation.queue_tick_now,
            mutation.queue_len,
            mutation.queue_token,
        )

    def state(event: Event) -> None:
        machine.add("B")
        machine.add("C")
        machine.can_add("D")
        machine.prepend_mut(Mutation(MutationType.ADD, (3,)))
        seen.extend(fields(mutation) for mutation in machine.queue())
        seen.append(fields(event.mutation))

    machine.bind({"AState": state})
    fresh = Mutation(MutationType.ADD, (0,))
    assert fields(fresh) == (0, 0, 0, 0)
    machine.add("A")
    #        tick, tick when queued, length, token
    assert seen == [(0, 2, 4, 2), (0, 2, 3, 1), (3, 2, 1, 0), (4, 2, 2, 0), (2, 1, 1, 0)]
    machine.eval("here", lambda: None)
    machine.bind_tracer(tracer)
    machine.can_add("A")
    assert fields(tracer.transitions[0].mutation) == (0, 4, 1, 3)
    assert fields(tracer.transitions[0].mutation.clone()) == (0, 0, 0, 0)
