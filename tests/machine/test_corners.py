"""Rare ways through the machine, each with what it must not break."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from amzmq.machine import Event, Machine, MachineView, State, States
from amzmq.machine.compiled import compile_schema
from tests.machine.rig import PATIENCE, plain, recorded


class Frozen(MachineView):
    """The least that reads: no state is ever active."""

    _queue_tick = 1
    _machine_tick = 0

    def _active_names(self) -> frozenset[str]:
        return frozenset()

    def _active_order(self) -> Sequence[str]:
        return ()


def test_view_needs_to_know_what_is_active() -> None:
    compiled = compile_schema({"A": State()})
    with pytest.raises(TypeError, match="_active_names"):
        MachineView("m", compiled)  # type: ignore[abstract]
    view = Frozen("m", compiled)
    assert not view.is_("A")
    assert view.export()["state_names"] == ["A", "Exception"]
    assert not view.is_disposed
    view.when_disposed().release()
    assert view.is_disposed


def test_machines_of_equal_schemas_show_one_compiled_schema() -> None:
    assert plain().compiled is plain().compiled
    assert plain().compiled is not plain("A").compiled


def test_groups_may_come_from_a_class_of_states_alone() -> None:
    class Door(States):
        Open = State()
        Closed = State()

    machine = Machine(Door)
    machine.set_groups(states=Door)
    assert machine.groups() == {"self": [0, 1]}


def test_two_disposals_in_one_handler_are_one() -> None:
    machine, ends = plain("Start", "A"), []

    def state(event: Event) -> None:
        machine.dispose()
        machine.dispose()
        # Start goes first, in a transition of its own after this one.
        ends.append(machine.is_disposing)

    machine.add("Start")
    calls = recorded(machine)
    machine.bind({"AState": state})
    machine.on_dispose(lambda: ends.append(True))
    machine.add("A")
    assert ends == [False, True]
    assert "StartEnd" in calls


def test_forced_disposal_overtakes_the_one_that_waits_for_the_drain() -> None:
    machine, ends = plain("Start", "A"), []
    machine.add("Start")
    machine.on_dispose(lambda: ends.append("callback"))

    def state(event: Event) -> None:
        machine.dispose()
        machine.dispose_force()
        ends.append("handler")

    machine.bind({"AState": state})
    machine.add("A")
    assert ends == ["callback", "handler"]
    assert machine._late is None


def test_evaluation_that_has_begun_is_waited_for() -> None:
    machine = plain(eval_timeout=0.1)
    go, ran = threading.Event(), []
    machine.bind({"AState": lambda e: go.wait(PATIENCE) and None})
    machine.handler_timeout = PATIENCE
    thread = threading.Thread(target=machine.add, args=("A",))
    thread.start()
    while machine.transition() is None:
        time.sleep(0.001)

    def release() -> None:
        while not machine.queue_len:
            time.sleep(0.001)
        go.set()

    helper = threading.Thread(target=release)
    helper.start()

    def function() -> None:
        time.sleep(0.2)
        ran.append(True)

    assert machine.eval("slow", function)
    assert ran == [True]
    assert machine.err_internal() is None
    thread.join()
    helper.join()


def test_machine_disposed_by_a_comparison_of_arguments() -> None:
    machine = plain()

    class Deadly:
        def __eq__(self, other: object) -> bool:
            machine.dispose()
            return False

        __hash__ = None  # type: ignore[assignment]

    first = machine.when_args("A", x=Deadly())
    second = machine.when_args("A", x=1)
    assert first.done()
    assert second.done()
    assert machine._subs.pending == 0


def test_auto_state_that_two_others_veto_is_struck_once() -> None:
    schema = {"A": State(), "B": State(), "X": State(auto=True), "Y": State(auto=True)}
    machine = Machine(schema)
    calls = recorded(machine, {"AX": False, "BX": False})
    machine.add("A", "B")
    assert machine.active_states() == ["Y", "A", "B"]
    assert (calls.count("AX"), calls.count("BX")) == (1, 1)


def test_source_of_an_event_on_a_machine_disposed_by_force() -> None:
    machine, times = plain(), []

    def state(event: Event) -> None:
        machine.dispose_force()
        times.append(event.source().time)

    machine.add("B")
    machine.bind({"AState": state})
    machine.add("A")
    assert times == [0]


def test_context_of_a_disposed_machine_never_expires() -> None:
    machine = plain()
    machine.add("A")
    machine.dispose()
    context = machine.state_ctx("A")
    assert not context.expired
    assert (context.state, context.tick) == ("A", 0)
    assert machine.state_ctx("A") is not context


def test_binding_is_done_again_when_another_came_between() -> None:
    machine, calls = plain(), []

    class Jealous:
        looks = 0

        @property
        def AState(self) -> Any:
            self.looks += 1
            if self.looks == 1:
                machine.bind({"AState": lambda e: calls.append("other")}, id="other")
            return lambda e: calls.append("own")

    jealous = Jealous()
    assert machine.bind(jealous, id="own") == "own"
    assert jealous.looks == 2
    assert machine.handlers() == ["other", "own"]
    machine.add("A")
    assert calls == ["other", "own"]
