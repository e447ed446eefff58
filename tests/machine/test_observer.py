"""Clock observers: what changed, at the price of a few instructions."""

from __future__ import annotations

import pytest

from amzmq.machine import ClockObserver, Machine
from amzmq.machine.observer import bits
from tests.machine.rig import plain


def stepping() -> Machine:
    return plain()


def with_handlers() -> Machine:
    machine = plain()
    machine.bind({"BEnter": lambda e: False})
    return machine


@pytest.mark.parametrize("make", [stepping, with_handlers])
def test_observer_is_woken_once_and_reads_what_changed(make: type[Machine]) -> None:
    machine, woken = make(), []
    observer = ClockObserver(lambda: woken.append(1))
    first = machine.observe_clock(observer)
    assert [tick for _, tick in first.ticks] == [0] * 5
    assert (first.queue_tick, first.machine_tick) == (1, 0)
    machine.add("A", "C")
    machine.remove("C")
    assert len(woken) == 1
    ticks, queue_tick, machine_tick, _ = machine.read_changes(observer)
    assert (dict(ticks), queue_tick, machine_tick) == ({0: 1, 2: 2}, 3, 0)
    machine.add("A")
    assert len(woken) == 2
    ticks, queue_tick, _, _ = machine.read_changes(observer)
    assert (dict(ticks), queue_tick) == ({}, 4)
    machine.unobserve_clock(observer)
    machine.add("D")
    assert not observer.pending


def test_canceled_mutation_wakes_for_the_queue_tick() -> None:
    machine, woken = with_handlers(), []
    machine.observe_clock(ClockObserver(lambda: woken.append(1)))
    machine.add("B")
    assert woken == [1]


def test_bits_are_ascending() -> None:
    assert list(bits(0b101001)) == [0, 3, 5]
    assert list(bits(0)) == []


def test_check_wakes_nobody() -> None:
    machine, woken = with_handlers(), []
    machine.add("A")
    machine.observe_clock(ClockObserver(lambda: woken.append(1)))
    machine.add("C")
    assert woken == [1]
    woken.clear()
    machine._observers[0].take()
    machine.can_add("D")
    machine.eval("test", lambda: None)
    assert woken == []


def test_nothing_is_read_from_a_disposed_machine() -> None:
    machine = plain()
    observer = ClockObserver(lambda: None)
    machine.observe_clock(observer)
    machine.add("A", "B")
    machine.dispose()
    assert machine.read_changes(observer)[0] == ()
