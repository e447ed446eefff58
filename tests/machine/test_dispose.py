"""Ends that take their time: parents with children, drains that do not end (spec machine 9.6)."""

from __future__ import annotations

import threading
import time

from amzmq.machine import Event, LogLevel, Machine, Result, State
from tests.machine.rig import PATIENCE, logged, plain


def test_child_says_goodbye_when_its_parent_is_disposed() -> None:
    parent = plain()
    child = plain("Disposing", "A", parent=parent, dispose_timeout=PATIENCE)
    seen: list[Event] = []
    child.bind({"DisposingState": seen.append})
    parent.dispose()
    assert parent.is_disposed
    assert child.is_("Disposing")
    assert [event.name for event in seen] == ["DisposingState"]
    assert not child.is_disposing
    child.dispose()
    assert child.when_disposed().wait(timeout=PATIENCE)


def test_goodbye_of_a_child_is_limited_in_time() -> None:
    parent = plain()
    child = plain("Disposing", parent=parent, dispose_timeout=0.01)
    child.bind({"DisposingState": lambda e: None})
    began = time.monotonic()
    parent.dispose()
    assert child.when_disposed().wait(timeout=PATIENCE)
    assert time.monotonic() - began >= 0.02


def test_child_without_a_goodbye_is_disposed_with_its_parent() -> None:
    parent = plain()
    without_handlers = plain("Disposing", parent=parent)
    without_the_state = plain(parent=parent)
    without_the_state.bind({"AState": lambda e: None})
    parent.dispose()
    assert without_handlers.is_disposed
    assert without_the_state.is_disposed


def test_drain_that_does_not_end_is_waited_for_no_longer_than_the_timeout() -> None:
    machine = plain("A", "B", dispose_timeout=0.02)
    lines = logged(machine, LogLevel.DECISIONS)
    started, finish = threading.Event(), threading.Event()
    results: list[Result] = []

    def hang(event: Event) -> None:
        started.set()
        finish.wait(PATIENCE)
        results.append(machine.add("B"))

    machine.bind({"AState": hang})
    thread = threading.Thread(target=lambda: results.append(machine.add("A")))
    thread.start()
    assert started.wait(PATIENCE)
    machine.dispose()
    assert not machine.is_disposed
    assert machine.when_disposed().wait(timeout=PATIENCE)
    finish.set()
    thread.join(PATIENCE)
    # What is asked of it afterwards is canceled; its own mutation had been accepted.
    assert results[0] == Result.CANCELED
    assert machine.active_states() == []
    assert lines[-1] == "[doDispose] timeout 0.02 s"


def test_late_dispose_needs_no_log() -> None:
    machine, seen = plain(dispose_timeout=0.01), []

    def hang(event: Event) -> None:
        machine.dispose()
        seen.append(machine.when_disposed().wait(timeout=PATIENCE))

    machine.bind({"AState": hang})
    machine.add("A")
    assert seen == [True]


def test_drain_that_ends_in_time_needs_no_timeout() -> None:
    machine = Machine({"A": State()}, dispose_timeout=PATIENCE)
    machine.bind({"AState": lambda e: machine.dispose()})
    machine.add("A")
    assert machine.is_disposed
    assert machine._late is None
