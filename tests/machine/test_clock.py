"""Times: vectors of ticks, with and without names (spec machine 2)."""

from __future__ import annotations

import pytest

from amzmq.machine import (
    Machine,
    State,
    Time,
    TimeIndex,
    is_active_tick,
    next_active_in,
    next_inactive_in,
)


def test_odd_ticks_are_active() -> None:
    assert [is_active_tick(tick) for tick in (0, 1, 2)] == [False, True, False]
    assert [next_active_in(tick) for tick in (0, 1)] == [1, 2]
    assert [next_inactive_in(tick) for tick in (0, 1)] == [2, 1]


def test_arithmetic_makes_new_times() -> None:
    time = Time([1, 2, 3])
    assert time.increment(1) == (1, 3, 3)
    assert time.increment(9) == time
    assert time.plus([1, 1, 1]) == (2, 3, 4)
    assert time.plus([1]) is time
    assert time.diff_since([1, 1, 1]) == (0, 1, 2)
    assert time.diff_since([1]) == (0, 0, 0)
    assert time.filter([2, 9]) == (3, 0)
    assert (time.sum(), time.sum([]), time.sum([0, 9])) == (6, 0, 1)
    assert str(time) == "1 2 3"


def test_comparison_is_of_every_tick() -> None:
    time = Time([1, 2, 3])
    assert not time.after([1, 1, 2])
    assert time.after([1, 1, 2], or_equal=True)
    assert time.after([0, 1])
    assert time.before([2, 3, 4])
    assert not time.before([2, 2, 4])
    assert time.before([2, 2, 4], or_equal=True)
    assert time.equal([1, 2], strict=False)
    assert not time.equal([1, 2])
    assert time.equal([1, 2, 3])


def test_activity_by_index() -> None:
    time = Time([1, 2, 3])
    assert (time.is1(0), time.is1(1), time.is1(-1), time.is1(9)) == (True, False, False, False)
    assert (time.not1(1), time.not1(0), time.not1(-1), time.not1(9)) == (True, False, False, False)
    assert (time.is_(0, 2), time.is_(), time.is_(0, -1)) == (True, False, False)
    assert (time.not_(1), time.not_(), time.not_(-1), time.not_(0)) == (True, True, True, False)
    assert (time.any_(1, 2), time.any_()) == (True, False)
    assert time.non_zero_states() == (0, 1, 2)
    assert time.active_states() == (0, 2)


def test_named_times_answer_by_name() -> None:
    times = Time([1, 2, 3]).to_index("ABC")
    assert (times.tick("B"), times.tick("X")) == (2, 0)
    assert (times.is_("A", "C"), times.not_("X", "B"), times.any_("B", "C")) == (True,) * 3
    assert times.active_states() == ["A", "C"]
    assert times.active_states("B", "C") == ["C"]
    assert times.non_zero_states() == ["A", "B", "C"]
    assert times.filter("C", "X") == TimeIndex(["C", "X"], [3, 0])
    assert (times.sum(), times.sum("A", "C")) == (0, 4)
    assert str(times) == "A C"
    assert repr(times) == "TimeIndex({'A': 1, 'B': 2, 'C': 3})"
    assert TimeIndex.of_active("AB", ["B"]).time == (0, 1)
    assert len({times, TimeIndex("ABC", [1, 2, 3])}) == 1
    assert times != "A C"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("A B", "(A:1 B:1) [C:0 D:0 Exception:0]"),
        ("A B", "(A:1 B:3) [C:0 D:0 Exception:0]"),
        ("A B C", "(A:1 B:5 C:1) [D:0 Exception:0]"),
        ("=D", "(D:1) [A:2 B:6 C:2 Exception:0]"),
        ("D C", "(C:3 D:1) [A:2 B:6 Exception:0]"),
        ("-B C", "(D:1) [A:2 B:6 C:4 Exception:0]"),
    ],
)
def test_ticks_of_the_specifications_example(states: str, expected: str) -> None:
    machine = Machine({"A": State(), "B": State(multi=True), "C": State(), "D": State()})
    for move in ("A B", "A B", "A B C", "=D", "D C", "-B C"):
        change = {"=": machine.set, "-": machine.remove}.get(move[0], machine.add)
        change(*move.lstrip("=-").split())
        if machine.string_all() == expected:
            return
    pytest.fail(f"never {expected}")
