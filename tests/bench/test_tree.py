"""The model of a tree: what a node carries, how many are needed, what it takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from bench.tree import Impossible, Limits, Load, Model, Tree, waits
from tests.bench.units import UNITS

EASY = Limits(latency_ms=0.0, spare=0)


def planned(subscribers: int, updates: float = 100.0, limits: Limits = EASY) -> Tree:
    return Model(UNITS, Load(subscribers, updates, 40), limits).plan()


def test_few_subscribers_need_no_relay() -> None:
    tree = planned(1_000)
    assert (tree.relays, tree.depth) == (0, 0)
    assert [level.fan_out for level in tree.levels] == [1_000]


def test_one_more_than_a_node_can_have_needs_a_level_of_relays() -> None:
    tree = planned(1_001)
    assert [level.nodes for level in tree.levels] == [1, 2]
    assert [level.fan_out for level in tree.levels] == [2, 501]


def test_a_million_need_two_levels_once_one_relay_may_be_away() -> None:
    assert [level.nodes for level in planned(1_000_000).levels] == [1, 1_000]
    tree = planned(1_000_000, limits=replace(EASY, spare=1))
    assert [level.nodes for level in tree.levels] == [1, 3, 1_001]
    assert tree.relays == 1_004


@pytest.mark.parametrize("subscribers", [1, 999, 12_345, 1_000_000, 50_000_000])
@pytest.mark.parametrize("updates", [1.0, 300.0, 3_000.0])
def test_every_node_is_within_its_limits_and_every_follower_has_one(
    subscribers: int, updates: float
) -> None:
    limits = Limits()
    tree = planned(subscribers, updates, limits)
    for at, level in enumerate(tree.levels):
        assert level.fan_out <= level.most <= limits.fan_out
        for spent_us in UNITS.loaded.at(at == 0, level.fan_out):
            assert (updates + 1) * spent_us / 1e6 <= limits.utilisation
        assert max(level.thread, level.io) <= 1.0
        assert level.out_mbit <= limits.utilisation * limits.bandwidth_mbit
    for above, below in pairwise(tree.levels):
        assert above.nodes * above.fan_out >= below.nodes
    assert tree.levels[-1].nodes * tree.levels[-1].fan_out >= subscribers


def test_the_other_relays_of_a_level_are_enough_when_the_spare_one_is_away() -> None:
    tree = planned(100_000, limits=Limits())
    (edge,) = tree.levels[1:]
    assert (edge.nodes - 1) * edge.most >= 100_000


@pytest.mark.parametrize(
    ("updates", "limits", "most", "limit"),
    [
        (99.0, EASY, 1_000, "the fan-out allowed"),
        # 0.6 s of a second, 1 us and 0.2 us a follower for each of 1,000 updates.
        (999.0, replace(EASY, fan_out=10**9, bandwidth_mbit=1e9), 2_995, "the I/O thread"),
        # 1,000 updates of 132 B on the wire, 0.6 of 10 Mbit/s.
        (999.0, replace(EASY, bandwidth_mbit=10.0), 5, "the network"),
        # Half a core for both: 300 us for each of 1,000, 11 of them anyway.
        (999.0, replace(EASY, cores=0.5, bandwidth_mbit=1e9), 963, "0.5 cores"),
    ],
)
def test_what_limits_a_node_is_named(updates: float, limits: Limits, most: int, limit: str) -> None:
    assert Model(UNITS, Load(1, updates, 40), limits).most(True) == (most, limit)


def test_a_dear_fan_out_is_limited_by_the_nodes_own_thread() -> None:
    units = replace(UNITS, loaded=replace(UNITS.loaded, child_us=0.4))
    limits = replace(EASY, fan_out=10**9, bandwidth_mbit=1e9)
    assert Model(units, Load(1, 999.0, 40), limits).most(True) == (1_475, "its own thread")


@pytest.mark.parametrize(
    ("updates", "limits", "why"),
    [
        (70_000.0, EASY, "the source's thread needs 10.1 us"),
        (40_000.0, EASY, "a follower applies 50,000"),
        (9_000.0, replace(EASY, bandwidth_mbit=1.0), "the network of the source"),
        (4_000.0, replace(EASY, bandwidth_mbit=10.0), "no smaller than"),
        (100.0, replace(EASY, max_delay_ms=0.1), "the quickest tree has"),
    ],
)
def test_an_impossible_load_is_told_in_one_line(updates: float, limits: Limits, why: str) -> None:
    with pytest.raises(Impossible, match=f"^impossible: .*{why}") as raised:
        planned(1_000_000, updates, limits)
    assert "\n" not in str(raised.value)


def test_a_short_delay_is_bought_with_more_relays() -> None:
    slow = planned(100_000)
    budget = slow.p99_ms * 0.7
    quick = planned(100_000, limits=replace(EASY, max_delay_ms=budget))
    assert quick.p99_ms <= budget < slow.p99_ms
    assert quick.relays > slow.relays


def test_a_level_adds_its_hop_its_fan_out_and_the_network() -> None:
    source, edge = planned(100_000, limits=replace(EASY, latency_ms=0.25, spare=1)).levels
    # At the median nobody waits: 200 us measured, 101 followers 2 us apart, 250 us of network.
    assert source.p50_ms == pytest.approx((200 + 100 * 2 / 2 + 250) / 1e3)
    assert edge.p50_ms == pytest.approx((100 + 990 * 2 / 2 + 250) / 1e3)
    # Rarely one waits for most of the pass before, of 2 us a follower and 2 us more.
    busy, a_pass = 101 * 204e-6, 204
    assert source.p99_ms == pytest.approx((500 + 200 + a_pass * (1 - 0.01 / busy) + 250) / 1e3)


def test_the_delay_of_a_tree_is_no_more_than_that_of_its_levels_together() -> None:
    tree = planned(1_000_000, limits=Limits())
    assert tree.p50_ms == pytest.approx(sum(level.p50_ms for level in tree.levels))
    assert max(level.p99_ms for level in tree.levels) < tree.p99_ms
    assert tree.p99_ms < sum(level.p99_ms for level in tree.levels)


def test_more_than_a_nodes_threads_can_take_one_by_one_shares_its_writes() -> None:
    (level,) = planned(1_000, 1_000.0, replace(EASY, bandwidth_mbit=1e4)).levels
    # 2 us a follower would be two cores; together they take 0.2 us each.
    assert level.io == 1.0
    assert level.thread == pytest.approx(1_001 * 520e-6)


def test_memory_and_bandwidth_are_those_of_the_followers() -> None:
    (level,) = planned(1_000, 99.0).levels
    assert level.memory_mib == pytest.approx(30 + 50)
    assert level.out_mbit == pytest.approx(100 * 1_000 * 132 * 8 / 1e6)


def test_who_finds_a_node_idle_does_not_wait() -> None:
    assert waits(0.0, 100.0) == (0.0, 0.0)
    assert waits(0.005, 100.0) == (0.0, 0.0)


def test_who_finds_it_busy_waits_for_the_rest_of_a_pass() -> None:
    assert waits(1.0, 100.0) == pytest.approx((50.0, 99.0))
    assert waits(0.8, 100.0) == pytest.approx((37.5, 98.75))
    assert waits(0.1, 100.0) == pytest.approx((0.0, 90.0))
