from __future__ import annotations

import pytest

from amzmq.cli.demo.tally import Latencies, Tally


def tally(*payloads: bytes) -> str:
    taken = Tally()
    for payload in payloads:
        taken.take(payload, payload)
    return taken.hexdigest()


def test_equal_only_for_the_same_payloads_in_the_same_order() -> None:
    same = tally(b"a", b"b")
    assert same == tally(b"a", b"b")
    assert same not in {tally(b"b", b"a"), tally(b"a"), tally(b"a", b"b", b"b")}


def test_percentiles_are_right_to_a_few_percent() -> None:
    latencies = Latencies()
    for ms in range(1, 1001):
        latencies.take(ms * 1_000_000)
    for percent, ms in ((50, 500), (99, 990), (100, 1000)):
        assert latencies.percentile_ms(percent) == pytest.approx(ms, rel=0.03)


def test_merging_is_as_if_one_had_taken_all() -> None:
    parts, whole = [Latencies(), Latencies()], Latencies()
    for ns in (0, 1, 900, 5_000, 5_001, 80_000_000):
        parts[ns % 2].take(ns)
        whole.take(ns)
    assert Latencies.merged(part.buckets for part in parts).buckets == whole.buckets


def test_nothing_taken_has_no_percentile() -> None:
    assert Latencies().percentile_ms(99) is None
