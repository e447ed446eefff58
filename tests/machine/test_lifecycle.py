"""Parents, exports, growing schemas, the end (spec machine 9.1, 9.4 to 9.6)."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest

from amzmq.errors import InvalidArgs, SchemaError
from amzmq.machine import (
    CHECK_ARGS,
    CheckArgs,
    ClockObserver,
    Event,
    LastTransition,
    Machine,
    Result,
    State,
    States,
)
from tests.machine.rig import Recorder, logged, plain, recorded

# Construction.


def test_contradiction_in_the_schema_is_the_first_error() -> None:
    machine = Machine({"A": State(require="B", remove="B"), "B": State()})
    assert (machine.tick("Exception"), machine.queue_tick) == (1, 2)
    assert "require-remove conflict for A to B" in str(machine.err())


def test_cycle_of_requirements_is_logged_and_works(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine({"A": State(require="B"), "B": State(require="A")}, id="cycle")
    assert "has a Require cycle for cycle" in caplog.text
    assert machine.add("A") == Result.CANCELED
    assert machine.add("A", "B") == Result.EXECUTED


def test_states_may_have_another_order_than_the_schema() -> None:
    machine = plain(states=["Exception", *"DCBA"])
    machine.add("A")
    assert machine.time() == (0, 0, 0, 0, 1)
    assert machine.index("A") == 4


@pytest.mark.parametrize("schema", [None, "A", 5, {"": State()}, {"A": None}, {1: State()}])
def test_what_is_no_schema_is_refused(schema: object) -> None:
    with pytest.raises(SchemaError):
        Machine(schema)  # type: ignore[arg-type]


def test_handlers_of_the_constructor_are_bound() -> None:
    called: list[Event] = []
    plain(handlers={"AState": called.append}).add("A")
    assert len(called) == 1


def test_local_machine_says_so() -> None:
    machine = plain()
    assert machine.is_local
    assert not machine.is_disposing
    assert machine.machine_tick == 0


# Export and import.


def test_export_is_of_plain_values() -> None:
    machine = plain("A", id="m")
    machine.add("A")
    assert machine.export() == {
        "id": "m",
        "state_names": ["A", "Exception"],
        "time": [1, 0],
        "queue_tick": 2,
        "machine_tick": 0,
    }


def test_import_follows_the_names_and_tells_nobody() -> None:
    machine, tracer = plain(id="m"), Recorder()
    calls = recorded(machine)
    machine.bind_tracer(tracer)
    wait = machine.when("B")
    observer = ClockObserver(lambda: None)
    machine.observe_clock(observer)
    names = ["Exception", *"DCBA"]
    data = {"id": "m", "state_names": names, "time": [0, 2, 0, 3, 1], "machine_tick": 4}
    machine.import_(data)
    assert machine.string_all() == "(A:1 B:3) [C:0 D:2 Exception:0]"
    assert machine.active_states() == ["B", "A"]
    assert (machine.machine_tick, machine.queue_tick) == (5, 1)
    assert calls == tracer.calls == []
    assert not wait.done()
    assert observer.mask == 0b1011


def test_import_adds_its_own_state_afterwards() -> None:
    machine = plain("A", "MachineRestored", id="m")
    machine.import_(machine.export())
    assert machine.active_states() == ["MachineRestored"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "x"}, "exported from 'x'"),
        ({"state_names": ["A"]}, "states differ"),
        ({"time": [1]}, "states differ"),
        ({"time": [-1, 0]}, "whole number"),
        ({"time": ["1", 0]}, "whole number"),
    ],
)
def test_import_refuses_what_does_not_fit_and_changes_nothing(
    change: dict[str, object], message: str
) -> None:
    machine = plain("A", id="m")
    with pytest.raises(InvalidArgs, match=message):
        machine.import_({**machine.export(), **change})
    assert str(machine) == "()"


def test_import_and_schema_are_refused_inside_of_a_transition() -> None:
    machine = plain()
    errors: list[Exception] = []

    def state(event: Event) -> None:
        for change in (
            lambda: machine.import_(machine.export()),
            lambda: machine.set_schema({**machine.schema, "E": State()}),
        ):
            try:
                change()
            except (InvalidArgs, SchemaError) as error:
                errors.append(error)

    machine.bind({"AState": state})
    machine.add("A")
    assert [type(error) for error in errors] == [InvalidArgs, SchemaError]


# set_schema and verify_states.


class Small(States):
    A = State()
    B = State()


class Grown(States):
    New = State()
    B = State(remove="New")
    A = State()


def test_grown_schema_keeps_clocks_and_goes_by_the_new_order() -> None:
    machine, tracer = Machine(Small), Recorder()
    machine.add("B", "A")
    machine.remove("B")
    machine.bind_tracer(tracer)
    observer = ClockObserver(lambda: None)
    machine.observe_clock(observer)
    machine.set_schema(Grown)
    assert machine.state_names == ("New", "B", "A", "Exception")
    assert machine.string_all() == "(A:1) [New:0 B:2 Exception:0]"
    assert tracer.calls == ["verify_states", "schema_change 3"]
    assert observer.mask == 0b1111
    machine.add("New", "A")
    machine.add("B")
    assert set(machine.active_states()) == {"A", "B"}


def test_waits_contexts_handlers_and_breakpoints_live_through_a_new_schema() -> None:
    machine = Machine(Small)
    machine.add("A")
    calls: list[str] = []
    machine.bind({"BState": lambda e: calls.append(str(e))})
    machine.add_breakpoint(added=["B"])
    lines = logged(machine)
    waits = [
        machine.when("B"),
        machine.when("A", "B"),
        machine.when_not("A"),
        machine.when_time({"B": 1, "A": 2}),
        machine.when_args("B", x=1),
        machine.when_query(lambda clock: clock["New"] == 0 and clock["B"] == 1),
        machine.state_ctx("B"),
    ]
    machine.set_schema(Grown)
    assert machine.when("B") is waits[0]
    assert machine.add("B", x=1) == Result.EXECUTED
    assert [wait.done() for wait in waits] == [True, True, False, False, True, True, True]
    machine.remove("A")
    assert all(wait.done() for wait in waits)
    assert calls == ["[add] B"]
    assert "[breakpoint] Machine.breakpoint" in lines
    assert machine._subs.pending == 0


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (Small, "can only grow"),
        ({"A": State(), "X": State(), "Y": State()}, "B missing"),
        (
            {"A": State(require="B", remove="B"), "B": State(), "C": State()},
            "require-remove conflict",
        ),
    ],
)
def test_schema_that_does_not_fit_changes_nothing(schema: object, message: str) -> None:
    machine = Machine(Small)
    with pytest.raises(SchemaError, match=message):
        machine.set_schema(schema)  # type: ignore[arg-type]
    assert machine.state_names == ("A", "B", "Exception")


def test_verified_order_is_told_and_ticks_nothing() -> None:
    machine, tracer = plain("A", "B"), Recorder()
    machine.add("B")
    machine.bind_tracer(tracer)
    machine.verify_states("Exception", "B", "A")
    assert machine.time() == (0, 1, 0)
    assert tracer.calls == ["verify_states"]


# The end.


def test_dispose_takes_start_away_first() -> None:
    machine = plain("Start")
    machine.add("Start")
    calls = recorded(machine)
    machine.dispose()
    assert "StartEnd" in calls


def test_dispose_inside_of_a_handler_waits_for_the_drain() -> None:
    machine = plain("Start", "A", "B")
    machine.add("Start")
    seen: list[object] = []

    def state(event: Event) -> None:
        machine.add("B")
        machine.dispose()
        seen.append((machine.is_disposing, machine.is_("Start")))

    machine.bind({"AState": state, "StartEnd": lambda e: seen.append("end")})
    machine.bind({"BState": lambda e: seen.append("B")})
    machine.add("A")
    assert seen == [(False, True), "B", "end"]
    assert machine.is_disposed


def test_disposing_machine_calls_no_further_handlers() -> None:
    machine = plain("A", "B")
    calls: list[str] = []

    def enter(event: Event) -> None:
        machine.dispose()
        calls.append(f"{machine.is_disposing} {machine.is_disposed}")

    machine.bind({"AEnter": enter, "AState": calls.append, "AnyEnter": calls.append})
    assert machine.add("A") == Result.CANCELED
    assert calls == ["True False"]
    assert machine.is_disposed


@pytest.mark.parametrize("handler", ["AEnter", "AState", "AnyState", "BEnter"])
def test_forced_dispose_inside_of_a_handler_is_survived(handler: str) -> None:
    machine = Machine({"A": State(), "B": State(auto=True), "M": State(multi=True)})
    tracer = LastTransition()
    machine.bind_tracer(tracer)

    def force(event: Event) -> None:
        machine.dispose_force()
        raise ValueError("too late")

    machine.bind({handler: force})
    machine.add("A", "M")
    assert machine.is_disposed
    assert machine.active_states() == []
    assert machine.add("A") == Result.CANCELED
    assert tracer.last is not None
    assert tracer.last.is_completed


def test_dispose_drops_what_waits_and_answers_checks() -> None:
    machine = plain()
    check = CheckArgs()

    def state(event: Event) -> None:
        machine.can_add("B", args={CHECK_ARGS: check})
        machine.dispose()

    machine.bind({"AState": state})
    machine.add("A")
    assert check.done.done()
    assert check.canceled
    assert machine.queue_len == 0


def test_dispose_is_told_once_in_order() -> None:
    machine, tracer, calls = plain(id="m"), Recorder(), []
    machine.bind_tracer(tracer)
    machine.on_dispose(lambda: calls.append((1, machine.is_disposed)))
    machine.on_dispose(lambda: calls.append((2, machine.when_disposed().done())))
    machine.dispose()
    machine.dispose()
    machine.dispose_force()
    assert calls == [(1, True), (2, False)]
    assert machine.when_disposed().done()
    assert tracer.calls == ["machine_dispose m"]


def test_disposed_parent_disposes_its_children() -> None:
    parent = plain(id="parent")
    child = plain(parent=parent, id="child")
    grandchild = plain(parent=child)
    parent.dispose()
    assert child.is_disposed
    assert grandchild.is_disposed
    late = plain(parent=parent)
    assert late.is_disposed


def test_disposed_child_is_forgotten_by_its_parent() -> None:
    parent = plain()
    child = plain(parent=parent)
    ref = weakref.ref(child)
    child.dispose()
    assert not parent._children
    del child
    gc.collect()
    assert ref() is None


def test_dropped_machine_needs_no_garbage_collector() -> None:
    gc.disable()
    try:
        machine = plain()
        machine.bind({"AState": lambda e: None})
        machine.add("A")
        ref = weakref.ref(machine)
        del machine
        assert ref() is None
    finally:
        gc.enable()


def test_parents_tracers_hear_of_the_child(caplog: pytest.LogCaptureFixture) -> None:
    tracer, own = Recorder(), Recorder()
    parent = plain(id="parent", tracers=[tracer])
    with caplog.at_level(logging.ERROR):
        plain(id="child", parent=parent, tracers=[own])
    assert tracer.calls == ["machine_init", "new_submachine parent child"]
    assert own.calls == ["machine_init"]


def test_mutations_that_wait_when_an_interrupted_drain_is_disposed_are_dropped() -> None:
    machine = plain()

    def state(event: Event) -> None:
        machine.add("B")
        machine.dispose()
        raise KeyboardInterrupt

    machine.bind({"AState": state})
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    assert machine.is_disposed
    assert machine.queue_len == 0


def test_waits_for_the_queue_are_done_when_no_drain_runs() -> None:
    machine = plain()
    assert machine.when_queue_ends().done()
    machine.dispose()
    assert machine.when_queue_ends().done()
    assert machine.when_args("A", x=1).done()


@pytest.mark.parametrize("handler", ["AEnd", "AState"])
def test_dispose_between_bindings_of_one_event_calls_no_further_one(handler: str) -> None:
    machine, calls = plain(), []
    if handler == "AEnd":
        machine.add("A")
    machine.bind({handler: lambda e: machine.dispose()})
    machine.bind({handler: calls.append})
    (machine.remove if handler == "AEnd" else machine.add)("A")
    assert calls == []
    assert machine.is_disposed
