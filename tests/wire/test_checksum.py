"""The checksum of a clock: kept up to date, and blind to no accident we know of."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from amzmq.wire.checksum import CHECKSUM_MASK, ClockSum

NAMES = ["Exception", "A", "B", "C"]
ticks = st.lists(st.integers(0, 2**40), min_size=4, max_size=4)
steps = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 2**33)), max_size=4),
        st.integers(0, 2**20),
        st.integers(0, 3),
    ),
    max_size=6,
)


def of(clock: list[int], queue_tick: int = 1, machine_tick: int = 0) -> int:
    return ClockSum(NAMES).reset(clock, queue_tick, machine_tick)


@given(ticks, steps)
def test_what_is_added_step_by_step_equals_what_is_summed_at_once(
    clock: list[int], taken: list[tuple[list[tuple[int, int]], int, int]]
) -> None:
    running = ClockSum(NAMES)
    running.reset(clock, 1, 0)
    queue_tick, machine_tick = 1, 0
    for changes, queue_ticks, machine_ticks in taken:
        for index, delta in changes:
            clock[index] += delta
        queue_tick += queue_ticks
        machine_tick += machine_ticks
        flat = [number for change in changes for number in change]
        total = running.after(flat, queue_ticks, machine_ticks)
        assert total & CHECKSUM_MASK == of(clock, queue_tick, machine_tick)
        assert running.accept(total) == running.value == of(clock, queue_tick, machine_tick)


@given(ticks, st.integers(0, 3), st.integers(1, 2**20))
def test_a_step_not_accepted_leaves_the_sum_as_it_was(
    clock: list[int], index: int, delta: int
) -> None:
    running = ClockSum(NAMES)
    before = running.reset(clock, 1, 0)
    running.after([index, delta], 1, 1)
    assert running.value == before


@given(ticks, st.integers(0, 3), st.integers(0, 3))
def test_a_swap_of_two_ticks_is_seen(clock: list[int], one: int, other: int) -> None:
    assume(clock[one] != clock[other])
    swapped = list(clock)
    swapped[one], swapped[other] = clock[other], clock[one]
    assert of(swapped) != of(clock)


@given(ticks, st.integers(0, 3), st.integers(0, 3), st.integers(1, 2**20))
def test_errors_that_compensate_each_other_are_seen(
    clock: list[int], one: int, other: int, error: int
) -> None:
    assume(one != other)
    wrong = list(clock)
    wrong[one] += error
    wrong[other] -= error
    assert of(wrong) != of(clock)


@given(ticks, st.integers(0, 3), st.integers(1, 2**20))
def test_an_error_that_the_queue_tick_compensates_is_seen(
    clock: list[int], index: int, error: int
) -> None:
    wrong = list(clock)
    wrong[index] += error
    assert of(wrong, 2**21 - error) != of(clock, 2**21)


@pytest.mark.parametrize("bits", [8, 16, 31, 32, 33, 64])
@pytest.mark.parametrize("times", [1, 3, 256])
@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_a_wrap_of_any_width_is_seen(bits: int, times: int, index: int) -> None:
    clock = [5, 6, 7, 8]
    wrapped = list(clock)
    wrapped[index] += times * 2**bits
    assert of(wrapped) != of(clock)
    assert of(clock, 1 + times * 2**bits) != of(clock)
    assert of(clock, 1, times * 2**bits) != of(clock)


def test_the_queue_tick_and_the_machine_tick_are_not_the_same() -> None:
    assert of([0, 0, 0, 0], 1, 0) != of([0, 0, 0, 0], 0, 1) != of([1, 0, 0, 0], 0, 0)


@pytest.mark.parametrize(
    "names",
    [
        ["Exception", "A", "B", "D"],
        ["Exception", "A", "C", "B"],
        ["Exception", "AB", "", "C"],
        ["Exception", "A", "B"],
        ["Exception", "A", "B", "C", "D"],
    ],
)
def test_clocks_of_other_names_have_another_sum(names: list[str]) -> None:
    clock = [1, 2, 3, 4, 0]
    assert ClockSum(names).reset(clock[: len(names)], 5, 1) != of(clock[:4], 5, 1)


def test_equal_names_have_equal_sums() -> None:
    assert of([1, 2, 3, 4], 5, 1) == of([1, 2, 3, 4], 5, 1)


@given(ticks, st.integers(0, 2**64), st.integers(0, 2**64))
def test_it_travels_in_32_bits(clock: list[int], queue_tick: int, machine_tick: int) -> None:
    assert 0 <= of(clock, queue_tick, machine_tick) < 2**32


def test_a_clock_of_the_wrong_length_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="argument"):
        ClockSum(NAMES).reset([1, 2, 3], 1, 0)
