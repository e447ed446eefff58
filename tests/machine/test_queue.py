"""Mutations, results, the queue and what waits in it (spec machine 3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amzmq.errors import InvalidArgs, StateUnknown
from amzmq.machine import (
    CHECK_ARGS,
    CheckArgs,
    Event,
    Machine,
    Mutation,
    MutationType,
    Position,
    QueuePlace,
    Result,
    State,
    Tracer,
)
from tests.machine.rig import Recorder, plain

ADD, REMOVE = MutationType.ADD, MutationType.REMOVE


def in_state(machine: Machine, work: Callable[[], object]) -> object:
    """Run something inside of AState; returns its answer."""
    answers: list[object] = []
    id = machine.bind({"AState": lambda e: answers.append(work())})
    machine.add("A")
    machine.detach(id)
    return answers[0]


def test_first_mutation_has_tick_two() -> None:
    machine = plain()
    assert machine.queue_tick == 1
    assert machine.add("A") == Result.EXECUTED
    assert machine.queue_tick == 2


def test_nested_mutation_returns_its_tick() -> None:
    machine = plain()
    machine.set("A")
    results: list[Result] = []
    machine.bind({"BEnter": lambda e: results.append(machine.add("C"))})
    assert machine.set("B") == Result.EXECUTED
    assert results == [4]
    assert results[0].is_queued
    assert (machine.string_all(), machine.queue_tick) == ("(B:1 C:1) [A:2 D:0 Exception:0]", 4)


def test_order_of_execution_of_the_worked_example() -> None:
    machine = Machine({"A": State(), "B": State(), "C": State(), "D": State(auto=True)})
    recorder = Recorder()
    machine.bind_tracer(recorder)

    def state(event: Event) -> None:
        for change in (machine.add, machine.can_add):
            change("B" if change == machine.add else "C")
        machine.can_add("B")
        machine.add("A")

    machine.bind({"AState": state})
    assert machine.add("A") == Result.EXECUTED
    ran = [(tx.mutation_str(), tx.is_auto, tx.is_check) for tx in recorder.transitions]
    assert ran == [
        ("[add] A", False, False),
        ("[add] D", True, False),
        ("[add] B", False, True),
        ("[add] C", False, True),
        ("[add] B", False, False),
        ("[add] A", False, False),
    ]
    assert (str(machine), machine.queue_tick) == ("(A:1 B:1 D:1)", 4)


def test_duplicates_merge_unless_multi_or_with_args() -> None:
    machine = Machine({**{name: State() for name in "ABC"}, "M": State(multi=True)})

    def work() -> list[int]:
        results = [machine.add("B", "C"), machine.add("C", "B"), machine.add("B", x=1)]
        results += [machine.add("M"), machine.add("M"), machine.set("B", "C")]
        return [int(result) for result in results]

    assert in_state(machine, work) == [3, 0, 4, 5, 6, 7]


def test_counter_mutations_between_duplicates_are_ignored() -> None:
    # A quirk of the reference (3.4).
    machine = plain()
    results = in_state(machine, lambda: [machine.add("B"), machine.remove("B"), machine.add("B")])
    assert results == [3, 4, 0]
    assert machine.not_("B")


def test_removal_of_what_is_inactive_is_done_at_once_in_a_transition() -> None:
    machine = plain()
    assert in_state(machine, lambda: machine.remove("B", "Unknown")) == Result.EXECUTED
    before = machine.queue_tick
    assert machine.remove("B") == Result.EXECUTED
    assert machine.queue_tick == before + 1


def test_full_queue_cancels_but_takes_exception() -> None:
    machine = Machine({"A": State(), "C": State(multi=True)}, queue_limit=2)

    def work() -> list[int]:
        results = [machine.add("C") for _ in range(3)]
        results += [machine.add_err(ValueError()), machine.add("Exception")]
        results += [machine.add("Exception"), machine.remove("Exception"), machine.set("Exception")]
        return [int(result) for result in results]

    assert in_state(machine, work) == [3, 4, 1, 1, 5, 6, 1, 1]


def test_event_gives_no_exemption_from_the_limit() -> None:
    machine = plain(queue_limit=1)
    results: list[Result] = []

    def state(event: Event) -> None:
        machine.add("B")
        results.append(machine.add("Exception", event=event))

    machine.bind({"AState": state})
    machine.add("A")
    assert results == [Result.CANCELED]


def test_queued_mutation_of_a_vetoed_transition_runs() -> None:
    machine = plain()
    machine.bind({"AEnter": lambda e: machine.add("B") and False})
    assert machine.add("A") == Result.CANCELED
    assert machine.active_states() == ["B"]


def test_empty_lists_are_legal() -> None:
    machine = plain()
    machine.add("A")
    assert machine.add() == machine.remove() == Result.EXECUTED
    assert machine.set() == Result.EXECUTED
    assert str(machine) == "()"


@pytest.mark.parametrize("road", ["step", "handlers", "tracer"])
@pytest.mark.parametrize("name", ["Unknown", None, [], 5])
def test_wrong_names_raise_on_every_road(road: str, name: object) -> None:
    machine = plain()
    if road == "handlers":
        machine.bind({"AState": lambda e: None})
    elif road == "tracer":
        machine.bind_tracer(Recorder())
    for change in (machine.add, machine.remove, machine.set, machine.can_add):
        with pytest.raises(StateUnknown):
            change(name)  # type: ignore[arg-type]
    assert machine.queue_len == 0
    assert machine.add("A") == Result.EXECUTED


def test_wrong_args_are_refused() -> None:
    for args in ("text", 5, dict):
        with pytest.raises(InvalidArgs, match="args="):
            plain().add("A", args=args)  # type: ignore[arg-type]


# Results.


async def test_result_is_awaitable_and_says_what_it_is() -> None:
    machine = plain()
    assert await machine.add("A") == Result.EXECUTED
    assert [str(result) for result in (Result(0), Result(1), Result(2), Result.queued(9))] == [
        "executed",
        "canceled",
        "queued",
        "queued",
    ]
    assert repr(Result.queued(9)) == "Result.queued(9)"
    assert repr(Result.CANCELED) == "Result.CANCELED"
    assert not Result.CANCELED.is_queued


# Checks.


def test_check_changes_nothing_and_asks_the_negotiation() -> None:
    machine, calls = plain(), []
    machine.bind({"AEnter": lambda e: calls.append(e.is_check), "AState": calls.append})
    machine.bind({"BEnter": lambda e: False})
    assert machine.can_add("A") == Result.EXECUTED
    assert machine.can_add("B") == Result.CANCELED
    assert machine.can_remove("A") == Result.EXECUTED
    assert calls == [True]
    assert (str(machine), machine.queue_tick) == ("()", 1)


def test_check_of_a_multi_state_passes_though_it_is_rejected() -> None:
    # A quirk of the reference (3.7).
    machine = Machine({"M": State(multi=True, require="Q"), "Q": State()})
    assert machine.can_add("M") == Result.EXECUTED
    assert machine.add("M") == Result.CANCELED


@pytest.mark.parametrize(("state", "canceled"), [("B", False), ("C", True)])
def test_queued_check_tells_its_outcome(state: str, canceled: bool) -> None:
    machine, check = plain(), CheckArgs()
    machine.bind({"CEnter": lambda e: False})
    answer = in_state(machine, lambda: machine.can_add(state, args={CHECK_ARGS: check}))
    assert answer == Result.QUEUED
    assert check.done.done()
    assert check.canceled is canceled


# Questions to the queue (3.8).


def test_queue_can_be_searched() -> None:
    machine = Machine({**{name: State() for name in "ABCD"}, "M": State(multi=True)})

    def work() -> list[object]:
        machine.add("B", "C")
        machine.add("C", x=1)
        machine.add("M")
        machine.add("M")
        machine.remove("A")
        find = machine.is_queued
        return [
            [str(mutation) for mutation in machine.queue()],
            find(ADD, "C"),
            find(ADD, "C", strict=True),
            find(ADD, "C", min_tick=4),
            find(ADD, "C", strict=True, without_args=True),
            find(ADD, "B", position=Position.FIRST),
            find(ADD, "C", position=Position.LAST),
            find(REMOVE, "A", position=Position.LAST),
            find(ADD, "C", is_check=True),
            machine.is_queued_above(2, ADD, "M"),
            machine.is_queued_above(3, ADD, "M"),
            machine.will_be("B", "C"),
            machine.will_be("D"),
            machine.will_be_any("D", "M"),
            machine.will_be_any("D"),
            machine.will_be_removed("A"),
            machine.will_be_removed("B"),
        ]

    assert in_state(machine, work) == [
        ["[add] 1 2", "[add] 2", "[add] 4", "[add] 4", "[remove] 0"],
        QueuePlace(0, 3),
        QueuePlace(1, 4),
        QueuePlace(1, 4),
        None,
        QueuePlace(0, 3),
        None,
        QueuePlace(0, 7),
        None,
        True,
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert machine.is_queued(ADD, "A", position=Position.FIRST) is None
    assert machine.queue() == []


def test_prepended_mutation_runs_next_and_has_no_tick() -> None:
    machine = plain()
    order: list[str] = []
    machine.bind({f"{name}State": lambda e: order.append(e.name) for name in "BCD"})
    mutation = Mutation(ADD, (3,), {"x": 1})

    def work() -> Result:
        machine.add("B")
        return machine.prepend_mut(mutation.clone())

    assert in_state(machine, work) == Result.QUEUED
    assert order == ["DState", "BState"]
    assert machine.queue_tick == 3
    assert machine.prepend_mut(mutation) == Result.EXECUTED
    assert repr(mutation) == "<Mutation [add] 3 tick=0>"
    assert mutation.describe(machine.state_names) == "[add] D"
    machine.dispose()
    assert machine.prepend_mut(mutation.clone()) == Result.CANCELED


def test_mutations_of_tracers_are_queued_or_run() -> None:
    machine = plain()

    class Meddler(Tracer):
        id = "meddler"
        results: list[Result] = []

        def mutation_queued(self, machine: Machine, mutation: Mutation) -> None:
            if mutation.called == (0,):
                self.results.append(machine.add("B"))

        def queue_end(self, machine: Machine) -> None:
            if not machine.is_("C"):
                self.results.append(machine.add("C"))

    meddler = Meddler()
    machine.bind_tracer(meddler)
    assert machine.add("A") == Result.EXECUTED
    assert machine.is_("A", "B", "C")
    assert meddler.results == [Result.EXECUTED, Result.EXECUTED]
