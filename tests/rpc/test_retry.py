"""How long one waits before trying again."""

from __future__ import annotations

import random

import pytest

from amzmq.rpc import RetryPolicy


def delays(policy: RetryPolicy) -> list[float]:
    return list(policy.delays(random.Random(1)))


def test_delays_double_up_to_the_cap() -> None:
    policy = RetryPolicy(retries=7, delay=0.1, backoff=3.0, jitter=0.0)
    assert delays(policy) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0])


def test_without_a_cap_the_delay_stays_as_it_is() -> None:
    assert delays(RetryPolicy(retries=3, delay=0.5, backoff=0.0, jitter=0.0)) == [0.5] * 3


def test_there_are_as_many_delays_as_retries() -> None:
    assert len(delays(RetryPolicy())) == 15
    assert delays(RetryPolicy(retries=0)) == []


def test_a_crowd_spreads_out_and_nobody_waits_longer_than_said() -> None:
    policy = RetryPolicy(retries=1, delay=1.0, jitter=0.2)
    firsts = [next(policy.delays(random.Random(seed))) for seed in range(100)]
    assert len(set(firsts)) == 100
    assert 0.8 <= min(firsts) < 0.82
    assert 0.98 < max(firsts) <= 1.0
