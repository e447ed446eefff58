"""Tracers, evals, events, arguments: what looks on, and what handlers are given."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from amzmq.errors import BindError, EvalTimeout, InvalidArgs, NestedEval
from amzmq.machine import (
    Event,
    EventCopy,
    LastTransition,
    Machine,
    Result,
    Source,
    State,
    Transition,
    parse_args,
)
from amzmq.machine.evals import Evaluation
from tests.machine.rig import PATIENCE, Recorder, fail, logged, plain

# Handlers (5.1 to 5.4).


class Handlers:
    not_a_handler = 5

    def AState(self, e: Event) -> None: ...

    def BEnter(self, e: Event) -> bool:
        return False

    def Unrelated(self) -> None: ...


def test_methods_of_an_object_are_found_by_name() -> None:
    machine = plain()
    assert machine.bind(Handlers(), id="my handlers!") == "myhandlers"
    assert machine.handlers() == ["myhandlers"]
    assert machine.add("B") == Result.CANCELED
    assert machine.bind({"AState": fail()}).startswith("anon-")


@pytest.mark.parametrize(
    "handlers",
    [None, "text", 5, Handlers, {"AState": 5}, {"Astate": fail()}, {5: fail()}],
)
def test_what_cannot_be_bound_is_refused(handlers: object) -> None:
    with pytest.raises(BindError):
        plain().bind(handlers)


def test_ids_are_unique_and_detaching_needs_one() -> None:
    machine = plain()
    with pytest.raises(BindError, match="nothing is bound"):
        machine.detach("x")
    machine.bind({"AState": fail()}, id="x")
    with pytest.raises(BindError, match="bound already"):
        machine.bind({"AState": fail()}, id="x")
    with pytest.raises(BindError, match="handlers not bound"):
        machine.detach("y")


def test_prefix_cuts_the_names_of_events() -> None:
    machine, calls = Machine({"DbReady": State(), "Ready": State()}), []

    class Db:
        def ReadyState(self, e: Event) -> None:
            calls.append(e.name)

    machine.bind(Db(), state_prefix="Db")
    machine.bind({"ReadyEnd": lambda e: calls.append(e.name)}, state_prefix="Db")
    machine.bind({"State": lambda e: calls.append(e.name)}, state_prefix="Any")
    machine.add("DbReady", "Ready")
    machine.set()
    assert calls == ["DbReadyState", "AnyState", "DbReadyEnd", "AnyState"]


def test_cross_handler_towards_a_state_that_sounds_final_cannot_veto() -> None:
    # A quirk of the reference (5.1).
    machine = Machine({"A": State(), "AppState": State()})
    machine.add("A")
    machine.bind({"AAppState": lambda e: False})
    assert machine.add("AppState") == Result.EXECUTED


def test_colliding_names_share_a_handler() -> None:
    machine = Machine({"Foo": State(), "BarBaz": State(), "FooBar": State(), "Baz": State()})
    calls: list[str] = []
    machine.bind({"FooBarBaz": lambda e: calls.append(str(e))})
    machine.add("Foo")
    machine.set("BarBaz")
    machine.set("FooBar")
    machine.set("Baz")
    assert calls == ["[set] BarBaz", "[set] Baz"]


def test_bindings_are_called_in_order_and_a_veto_stops_them() -> None:
    machine, calls = plain(), []
    for name, answer in (("one", None), ("two", False), ("three", True)):
        machine.bind({"AEnter": lambda e, n=name, a=answer: calls.append(n) or a}, id=name)
    machine.add("A")
    assert calls == ["one", "two"]


def test_handlers_bound_in_a_negotiation_take_part_in_its_end() -> None:
    machine, calls = plain(), []
    late = {"AState": lambda e: calls.append("late")}
    id = machine.bind({"AEnter": lambda e: machine.bind(late, id="late") and None})
    machine.add("A")
    assert calls == ["late"]
    machine.detach(id)
    assert machine.handlers() == ["late"]


def test_programs_are_bounded() -> None:
    from amzmq.machine import handlers

    machine = plain(*(f"S{at}" for at in range(11)))
    machine.bind({"S0State": lambda e: None})
    for at in range(handlers.PROGRAM_LIMIT + 5):
        machine.set(*(f"S{bit}" for bit in range(11) if at >> bit & 1))
    assert machine._handlers is not None
    assert len(machine._handlers.programs) <= handlers.PROGRAM_LIMIT


def test_veto_of_an_exit_of_an_auto_transition_cancels_it() -> None:
    # The reference crashes here (4.6.2).
    machine = Machine(
        {"A": State(), "B": State(auto=True, remove="C"), "C": State(auto=True)},
    )
    machine.import_({**machine.export(), "time": [0, 0, 1, 0]})
    machine.bind({"CExit": lambda e: False})
    assert machine.add("A") == Result.EXECUTED
    assert set(machine.active_states()) == {"A", "C"}


@pytest.mark.parametrize(
    ("veto", "expected"),
    [("BEnter", "(A:1 C:1)"), ("DEnter", "(C:1)"), ("AnyEnter", "(C:1)")],
)
def test_vetoes_of_an_auto_transition_strike_their_own_state(veto: str, expected: str) -> None:
    machine = Machine(
        {"A": State(auto=True), "B": State(auto=True, add="D"), "C": State(), "D": State()}
    )
    machine.bind({veto: lambda e: "C" in e.machine.transition().called})
    machine.add("C")
    assert str(machine) == expected


def test_self_veto_in_an_auto_transition_skips_the_next_state() -> None:
    # Quirks of the reference (4.6.2): the list shrinks while it is walked, and a veto on the
    # last question cancels everything.
    schema = {
        "N": State(auto=True, require="T"),
        "T": State(),
        "W": State(auto=True),
        "Y": State(),
        "X": State(auto=True, require="Y"),
    }
    for vetoed, questions, expected in (
        ("W", ["WW", "YY", "XX"], "(N:1 T:1 W:1 Y:1 X:1)"),
        ("X", ["WW", "TT", "YY", "XX"], "(T:1 W:1 Y:1 X:1)"),
        ("Y", ["WW", "TT", "YY"], "(T:1 W:1 Y:1 X:1)"),
    ):
        machine, asked = Machine(schema), []

        def ask(event: Event, vetoed: str = vetoed, asked: list[str] = asked) -> bool:
            tx = event.transition
            assert tx is not None
            if tx.is_auto:
                asked.append(event.name)
            return not (tx.is_auto and event.name == vetoed * 2)

        machine.add("Y")
        machine.bind({name * 2: ask for name in "NTWXY"})
        machine.add("T")
        assert asked == questions
        assert str(machine) == expected


# Events.


def test_event_says_where_it_belongs() -> None:
    machine, events = plain(id="m"), []

    def state(event: Event) -> None:
        events.append(event)
        tx = event.transition
        assert tx is not None
        assert event.is_valid()
        assert (event.machine_id, event.transition_id) == ("m", tx.id)
        assert event.mutation is tx.mutation
        assert not event.is_check
        assert event.error is None
        assert str(event) == "[add] A B"
        assert event.source() == Source("m", tx.id, 0)

    machine.bind({"AState": state})
    machine.add("B", "A", x=1)
    event = events[0]
    assert not event.is_valid()
    assert event.transition is None
    assert event.source().time == 0


def test_copies_of_events_are_never_valid_and_may_be_copied_again() -> None:
    machine, copies = plain(id="m"), []

    def state(event: Event) -> None:
        copies.extend([event.export(), event.clone(), event.swap_args({"y": 2})])

    machine.bind({"AState": state})
    machine.add("A", x=1)
    exported, clone, swapped = copies
    assert [copy.is_valid() for copy in copies] == [False] * 3
    assert (exported.args, clone.args, swapped.args) == ({}, {"x": 1}, {"y": 2})
    assert clone.export() == exported.export()._replace(text="[add] A")
    assert clone.clone() is clone
    assert clone.error is None
    assert (str(clone), str(exported)) == ("[add] A", "AState")
    last = LastTransition()
    machine.bind_tracer(last)
    for event in (clone, machine.ev_source("0123")):
        machine.add("B", event=event)
        assert last.last is not None
        assert last.last.source == Source("m", event.transition_id, 0)


def test_time_before_is_right_whenever_it_is_asked_for() -> None:
    machine, seen = plain(), []
    machine.add("B")

    def state(event: Event) -> None:
        tx = event.transition
        assert tx is not None
        seen.append((tx.time_before, tx.time_after, tx.clock_before["A"], tx.clock_after["A"]))

    machine.bind({"AState": state})
    machine.add("A")
    assert seen == [((0, 1, 0, 0, 0), (1, 1, 0, 0, 0), 0, 1)]


# Arguments.


@dataclass
class Login:
    user: str
    tags: list[str] = field(default_factory=list)


def test_dataclass_travels_as_arguments() -> None:
    machine, seen = plain(), []
    machine.bind({"AState": lambda e: seen.append((parse_args(Login, e), e.args["extra"]))})
    wait = machine.when_args("A", user="ann")
    machine.add("A", args=Login("ann", ["x"]), extra=1)
    assert seen == [(Login("ann", ["x"]), 1)]
    assert wait.done()


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgs, match="Login"):
        parse_args(Login, {"tags": []})
    with pytest.raises(InvalidArgs, match="dataclass"):
        parse_args(int, {})


# Tracers (8).


def test_tracers_hear_everything_in_order() -> None:
    machine, tracer = Machine({"A": State(auto=True), "C": State()}), Recorder()
    machine.bind({"CState": lambda e: None}, id="h")
    machine.bind_tracer(tracer)
    machine.add("C")
    assert tracer.calls == [
        "queued [add] C",
        "init [add] C",
        "start",
        "finals",
        "handler_start h CState",
        "handler_end h CState",
        "queued [add] A",
        "end [add] C",
        "init [add] A",
        "start",
        "finals",
        "end [add] A",
        "queue_end",
    ]
    assert [tx.queue_len for tx in tracer.transitions] == [1, 0]
    first = tracer.transitions[0]
    assert (first.enters, first.exits, first.states_before) == (["C"], [], [])
    assert str(first) == f"tx#{first.id}\n[add] C"
    assert (first.is_health, first.is_check, first.type) == (False, False, "add")
    assert str(first.time_index_called) == "C"


def test_rejected_transition_has_no_enters_and_no_finals() -> None:
    machine, tracer = Machine({"A": State(require="B"), "B": State()}), Recorder()
    machine.bind_tracer(tracer)
    machine.add("A")
    tx = tracer.transitions[0]
    assert (tx.enters, tx.exits, tx.is_accepted) == ([], [], False)
    assert tx.time_after == tx.time_before
    assert "finals" not in tracer.calls


def test_prediction_of_the_time_after() -> None:
    machine, seen = plain(), []

    class Predicts(Recorder):
        def transition_init(self, tx: Transition) -> None:
            seen.append((tx.time_after.sum(), tx.time_index_diff(), tx.time_index_time_diff()))

    machine.add("B")
    machine.bind_tracer(Predicts())
    machine.set("A")
    machine.can_add("C")
    assert seen == [(3, (["A"], ["B"]), ["A", "B"]), (3, ([], []), [])]


def test_failing_tracer_is_logged_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recorder):
        def transition_end(self, tx: Transition) -> None:
            raise ValueError("broken tracer")

    machine = plain()
    machine.bind_tracer(Broken())
    wait = machine.when("A")
    assert machine.add("A") == Result.EXECUTED
    assert wait.done()
    assert "broken tracer" in caplog.text


def test_source_is_part_of_a_transitions_text() -> None:
    machine, last = plain(id="m"), LastTransition()
    machine.bind_tracer(last)
    machine.add("A", event=Source("other", "tx1", 7))
    assert last.last is not None
    assert str(last.last).endswith("source: [tx1](other/tx1/t7)")


# Eval (5.9).


def test_eval_runs_between_transitions_of_another_thread() -> None:
    machine = plain(handler_timeout=PATIENCE)
    inside, answers = threading.Event(), []

    def ask() -> None:
        inside.wait(PATIENCE)
        answers.append(machine.eval("fork", lambda: answers.append(str(machine))))

    def state(event: Event) -> None:
        inside.set()
        # The eval is first in the queue as soon as it is there.
        while not machine.queue_len:
            pass
        machine.add("B")

    machine.eval_timeout = PATIENCE
    machine.bind({"AState": state})
    thread = threading.Thread(target=ask)
    thread.start()
    machine.add("A")
    thread.join(PATIENCE)
    assert sorted(answers, key=str) == ["(A:1)", True]


def test_eval_without_a_turn_is_given_up() -> None:
    machine = plain(handler_timeout=PATIENCE, eval_timeout=0.0)
    inside, asked, ran = threading.Event(), threading.Event(), []

    def state(event: Event) -> None:
        inside.set()
        asked.wait(PATIENCE)

    machine.bind({"AState": state})
    thread = threading.Thread(target=machine.add, args=("A",))
    thread.start()
    inside.wait(PATIENCE)
    assert not machine.eval("late", lambda: ran.append(1))
    asked.set()
    thread.join(PATIENCE)
    assert ran == []
    assert isinstance(machine.err_internal(), EvalTimeout)


def test_eval_is_refused_where_it_cannot_be() -> None:
    machine = plain()
    with pytest.raises(InvalidArgs):
        machine.eval("", lambda: None)
    token = machine.when("A")
    machine.add("A")
    assert not machine.eval("expired", lambda: None, ctx=token)
    machine.bind({"BState": lambda e: machine.eval("nested", lambda: None)})
    machine.add("B")
    assert isinstance(machine.err_internal(), NestedEval)
    machine.dispose()
    assert not machine.eval("disposed", lambda: None)


def test_error_of_an_eval_belongs_to_its_caller() -> None:
    machine = plain()
    with pytest.raises(ZeroDivisionError):
        machine.eval("divides", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert machine.add("A") == Result.EXECUTED


def test_event_copy_without_a_name_is_empty_text() -> None:
    assert str(EventCopy("m", "tx")) == ""


# Groups (9.3).


def test_groups_come_from_objects_classes_and_mappings() -> None:
    class Own:
        first = ["A", "B"]
        second = ("C",)
        number = 5

    machine = plain()
    assert machine.groups() == {}
    expected = {"first": [0, 1], "second": [2]}
    for groups in (Own, Own(), {"first": ["A", "B"], "second": ["C"]}):
        machine.set_groups(groups)
        assert machine.groups() == expected
    with pytest.raises(InvalidArgs, match="Unknown"):
        machine.set_groups({"x": ["Unknown"]})


def test_handlers_object_may_look_at_the_machine_while_it_is_bound() -> None:
    machine = plain()

    class Curious:
        @property
        def AState(self) -> object:
            machine.time()
            return lambda e: None

    assert machine.bind(Curious(), id="curious") == "curious"


def test_later_bindings_of_a_failed_final_event_are_not_called_unwatched() -> None:
    machine, called = plain(), []
    machine.bind({"AState": fail()})
    machine.bind({"AState": called.append})
    machine.add("A")
    assert called == []


def test_equal_lines_between_transitions_are_kept_once() -> None:
    machine, tracer = plain(), Recorder()
    logged(machine)
    machine.log("same")
    machine.log("same")
    machine.bind_tracer(tracer)
    machine.add("A")
    assert tracer.transitions[0].pre_log_entries.count("[exter] same") == 1


def test_running_evaluation_is_not_given_up() -> None:
    given_up: list[bool] = []
    evaluation = Evaluation("test", lambda: given_up.append(evaluation.give_up()), None)
    mutation = evaluation.mutation()
    assert mutation.evaluate is not None
    mutation.evaluate()
