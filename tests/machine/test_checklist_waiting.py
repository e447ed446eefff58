"""Waiting: the reference's own tests (spec machine 11); README.md maps the names."""

from __future__ import annotations

import threading

import pytest

from amzmq.errors import InvalidArgs
from amzmq.machine import (
    Machine,
    State,
)
from tests.machine.checklist import from_
from tests.machine.rig import PATIENCE, plain


def test_when_is_released_from_another_thread() -> None:
    machine = plain()
    wait = machine.when("B", "C")

    def fork() -> None:
        machine.add("B")
        machine.add("C")

    thread = threading.Thread(target=fork)
    thread.start()
    assert wait.wait(PATIENCE)
    thread.join(PATIENCE)


def test_when_of_two_waiters() -> None:
    machine = plain()
    waits = [machine.when("A", "B"), machine.when("A", "B")]
    machine.add("A", "B")
    assert [wait.done() for wait in waits] == [True, True]


def test_when_active_already() -> None:
    assert from_(plain(), "A").when("A").done()


def test_overlapping_waits_do_not_interfere() -> None:
    machine = plain()
    ab, bc, a = machine.when("A", "B"), machine.when("B", "C"), machine.when("A", "A")
    machine.add("A")
    assert [ab.done(), bc.done(), a.done()] == [False, False, True]
    machine.add("B")
    assert [ab.done(), bc.done()] == [True, False]
    machine.add("C")
    assert bc.done()


def test_when_not() -> None:
    machine = from_(plain(), "B", "C")
    both, one, other = machine.when_not("B", "C"), machine.when_not("B"), machine.when_not("A")
    assert other.done()
    machine.remove("B")
    assert (both.done(), one.done()) == (False, True)
    machine.remove("C")
    assert both.done()
    assert not machine.is_err()


def test_state_contexts() -> None:
    machine = plain()
    kept = []
    machine.bind({"AState": lambda e: kept.append(machine.state_ctx("A"))})
    inactive = machine.state_ctx("A")
    machine.add("A")
    assert inactive.expired
    assert not kept[0].expired
    machine.remove("A")
    assert kept[0].expired


def test_time_and_clock() -> None:
    machine = Machine({"A": State(), "B": State(multi=True), "C": State(), "D": State()})
    for states in ("AB", "AB", "ABC"):
        machine.add(*states)
    machine.set("D")
    machine.add("D", "C")
    machine.remove("B", "C")
    assert machine.clock() == {"A": 2, "B": 6, "C": 4, "D": 1, "Exception": 0}
    before = machine.time()
    machine.add("A", "B")
    assert machine.time("A", "B", "C", "D") == (3, 7, 4, 1)
    machine.add("C")
    assert machine.tick("C") == 5
    assert machine.time().sum() == 16
    assert machine.time().after(before, or_equal=True)


def test_ctx_releases_waits_and_nothing_stays() -> None:
    machine = plain()
    ctx = machine.state_ctx("D")
    waits = [
        machine.when_time({"A": 9, "B": 9}, ctx=ctx),
        machine.when_ticks("A", 9, ctx=ctx),
        machine.when_args("A", ctx=ctx, user=1),
        machine.when("C", ctx=ctx),
        machine.when_not("Exception", "A", ctx=ctx),
    ]
    assert [wait.done() for wait in waits] == [False, False, False, False, True]
    machine.add("D")
    machine.add("A")
    assert all(wait.done() for wait in waits)
    assert machine._subs.pending == machine._subs.always == machine._subs.watched == 0
    with pytest.raises(InvalidArgs):
        machine.when_time({})


def test_when_args() -> None:
    machine = plain()
    wait = machine.when_args("B", user=1, name="x")
    machine.add("B", user=2, name="x")
    machine.remove("B")
    assert not wait.done()
    machine.add("B", user=1, name="x", more=True)
    assert wait.done()


def test_when_time() -> None:
    machine = Machine({"A": State(multi=True), "B": State(multi=True)})
    machine.add("A", "B")
    wait, later = machine.when_time({"A": 5, "B": 2}), machine.when_time({"A": 9, "B": 2})
    machine.add("A", "B")
    assert not wait.done()
    machine.add("A")
    assert wait.done()
    machine.add("A")
    assert not later.done()
    machine.add("A")
    assert later.done()


def test_equal_waits_are_one_object() -> None:
    machine = from_(plain(), "A")
    assert machine.when("B", "C") is machine.when("C", "B")
    assert machine.when_not("A") is machine.when_not("A")
    assert machine.when_time({"B": 3}) is machine.when_time({"B": 3})
    assert machine.when_args("B", x=1) is machine.when_args("B", x=1)


def test_when_queue_ends() -> None:
    machine = plain()
    kept = []
    machine.bind({"AState": lambda e: kept.append((machine.when_queue_ends(), machine.add("B")))})
    machine.bind({"BState": lambda e: kept.append(kept[0][0].done())})
    machine.add("A")
    assert kept[0][0].done()
    assert kept[1] is False


def test_when_queue() -> None:
    machine = plain()
    seen: list[bool] = []

    def state(event: object) -> None:
        results = [machine.add(name) for name in "BCD"]
        wait = machine.when_queue(results[-1])
        wait.add_done_callback(lambda: seen.append(machine.is_(*"ABCD")))

    machine.bind({"AState": state})
    machine.add("A")
    assert seen == [True]


def test_when_query() -> None:
    machine = from_(plain(), "A")
    wait = machine.when_query(lambda clock: clock["A"] > 0)
    assert not wait.done()
    machine.add("B")
    assert wait.done()
