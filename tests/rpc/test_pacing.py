"""How often something may be done: bounded at the source, spread at its followers."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from amzmq.rpc.pacing import Jitter, TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_at_once_and_no_more() -> None:
    bucket = TokenBucket(10.0, 3.0, Clock())
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]


def test_after_the_wait_that_it_names_one_more_is_allowed() -> None:
    clock = Clock()
    bucket = TokenBucket(10.0, 3.0, clock)
    while bucket.take():
        pass
    assert 0 < bucket.wait <= 0.1
    clock.now += bucket.wait + 1e-9
    assert [bucket.take(), bucket.take()] == [True, False]


def test_a_long_quiet_time_saves_up_one_burst_only() -> None:
    clock = Clock()
    bucket = TokenBucket(10.0, 3.0, clock)
    clock.now += 3600.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0.0, 2.0), max_size=200))
def test_never_more_than_the_rate_and_one_burst(steps: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(5.0, 4.0, clock)
    done = 0
    for step in steps:
        clock.now += step
        done += bucket.take()
        done += bucket.take()
        assert done <= 4.0 + 5.0 * clock.now + 1e-6


def test_the_window_doubles_up_to_its_limit_while_waits_follow_each_other() -> None:
    jitter = Jitter(1.0, 8.0, 10.0, random.Random(1))
    windows = []
    for at in range(6):
        assert 0 <= jitter.next(float(at)) <= jitter.window
        windows.append(jitter.window)
    assert windows == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_the_window_is_small_again_after_a_calm_time() -> None:
    jitter = Jitter(1.0, 8.0, 10.0, random.Random(1))
    for at in (0.0, 1.0, 2.0):
        jitter.next(at)
    assert jitter.window == 4.0
    jitter.next(12.5)
    assert jitter.window == 1.0


def test_what_is_refused_is_counted_until_the_bucket_is_full_again() -> None:
    now = [0.0]
    bucket = TokenBucket(1.0, 2.0, lambda: now[0])
    assert [bucket.take() for _ in range(4)] == [True, True, False, False]
    assert bucket.refused == 2
    now[0] = 1.0
    assert bucket.take()
    assert not bucket.take()
    assert bucket.refused == 3
    now[0] = 3.0
    assert bucket.take()
    assert bucket.refused == 0


def test_waits_are_spread_over_the_window() -> None:
    waits = [Jitter(1.0, 8.0, 10.0, random.Random(seed)).next(0.0) for seed in range(1000)]
    tenths = [sum(at / 10 <= wait < (at + 1) / 10 for wait in waits) for at in range(10)]
    assert min(tenths) > 50
