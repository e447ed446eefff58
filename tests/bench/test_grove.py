"""Planned trees that are grown small and damaged: they heal, and nothing is lost in silence."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bench import grove
from bench.grove import Faults, Scale, scale_of, simulate
from bench.report import BenchError
from bench.tree import Limits, Load, Model, Tree
from tests.bench.units import UNITS

SMALL = Scale(8, (2, 3), 1_000_000, (3, 1_001))


def tree_of(subscribers: int) -> Tree:
    return Model(UNITS, Load(subscribers, 100.0, 40), Limits()).plan()


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_tree_is_equal_at_the_end_and_every_loss_is_counted(seed: int) -> None:
    outcome = simulate(SMALL, seed)
    assert outcome.holds
    assert (outcome.different, outcome.uncounted) == ((), ())
    # It was damaged indeed, and under load.
    assert outcome.deaths == Faults().deaths
    assert outcome.updates >= grove.UPDATES
    assert min(outcome.dropped, outcome.gaps, outcome.snapshots, outcome.payloads_lost) > 0


def test_a_seed_does_the_same_each_time() -> None:
    first, again = (replace(simulate(SMALL, 7), wall_s=0.0) for _ in range(2))
    assert first == again
    assert replace(simulate(SMALL, 8), wall_s=0.0) != first


def test_an_undamaged_tree_loses_nothing() -> None:
    outcome = simulate(SMALL, 1, Faults(drop=0.0, late=0.0, deaths=0))
    assert outcome.holds
    assert (outcome.dropped, outcome.gaps, outcome.payloads_lost) == (0, 0, 0)
    assert outcome.payloads == outcome.updates // grove.PAYLOAD_EVERY


def test_a_tree_without_relays_heals_as_well() -> None:
    outcome = simulate(Scale(5, (), 1_000, ()), 1)
    assert outcome.holds
    assert outcome.deaths == 0
    assert outcome.gaps > 0


def test_a_payload_that_nobody_counts_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    take = grove._Leaf._take

    def forgetful(leaf: grove._Leaf, payload: object) -> None:
        if leaf.name != "f3" or leaf.given % 2 == 0:
            take(leaf, payload)

    monkeypatch.setattr(grove._Leaf, "_take", forgetful)
    outcome = simulate(SMALL, 1)
    assert outcome.uncounted == ("f3",)
    assert not outcome.holds


def test_a_follower_that_never_gets_level_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grove, "PATIENCE_S", 5.0)
    grow = grove._Grove._grow

    async def grow_and_lose_one(self: grove._Grove) -> None:
        await grow(self)
        await self._leaves[2].client.stop()

    monkeypatch.setattr(grove._Grove, "_grow", grow_and_lose_one)
    with pytest.raises(BenchError, match=r"seed 1: the tree was not level within 5 .*\['f2'\]"):
        simulate(SMALL, 1, Faults(deaths=0))
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_the_scale_keeps_the_depth_and_names_itself() -> None:
    scale = scale_of(tree_of(1_000_000), 200)
    assert scale == Scale(200, (2, 14), 1_000_000, (3, 1_001))
    assert str(scale) == (
        "1 : 5,000 (200 followers below 2 + 14 relays stand for 1,000,000 below 3 + 1,001)"
    )


def test_a_small_plan_is_simulated_as_it_is() -> None:
    assert scale_of(tree_of(30), 200) == Scale(30, (), 30, ())
    assert str(scale_of(tree_of(1), 200)).startswith("1 : 1 ")


def test_memory_limits_what_is_simulated() -> None:
    tree = tree_of(1_000_000)
    assert grove.most_followers(tree, 200, available_kib=10**9) == 200
    assert grove.most_followers(tree, 200, available_kib=100 * grove.EACH_KIB) == 50
    assert grove.most_followers(tree_of(20), 200, available_kib=10**9) == 20
