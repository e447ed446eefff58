"""The checksum's values are part of the protocol: two versions have to agree on each."""

from __future__ import annotations

import pytest

from amzmq.wire.checksum import ClockSum


@pytest.mark.parametrize(
    ("names", "ticks", "queue_tick", "machine_tick", "total"),
    [
        (("A", "B", "Exception"), [1, 2, 3], 4, 5, 1949342422411306242),
        ((), [], 7, 0, 1073151465139249202),
        (("Ä",), [2**64], 0, 1, 1597812869767077839),
    ],
)
def test_a_clock_has_the_same_checksum_for_ever(
    names: tuple[str, ...], ticks: list[int], queue_tick: int, machine_tick: int, total: int
) -> None:
    clock = ClockSum(names)
    assert clock.reset(ticks, queue_tick, machine_tick) == total & 0xFFFFFFFF
    assert clock.after([], 0, 0) == total
    assert clock.accept(total + 1) == (total + 1) & 0xFFFFFFFF == clock.value


@pytest.mark.parametrize(
    ("changes", "why"), [([0], "1 numbers are no pairs"), ([-1, 1], "-1"), ([0, 1, 2, 1], "range")]
)
def test_changes_that_mean_no_state_change_nothing(changes: list[int], why: str) -> None:
    clock = ClockSum(("A", "B"))
    before = clock.reset([1, 2], 3, 4)
    with pytest.raises(IndexError, match=why):
        clock.advance(changes, 1, 1)
    assert clock.value == before
