"""Hundreds of simulated worlds: whatever happens, all promises hold once it is over."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.oracles.history import Answered, Caught, Met, Saw, Took
from tests.simulation.driver import simulate
from tests.simulation.seeds import FOUND
from tests.simulation.steps import LARGEST, Do, Step, plan

SOAK = bool(os.environ.get("AMZMQ_SOAK"))
BLOCKS = 200 if SOAK else 5
BLOCK = 50

STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(Do),
        st.integers(0, LARGEST - 1),
        st.integers(0, LARGEST - 1),
    ),
    max_size=40,
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The faults are meant: what the library says of them helps nobody here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_all_promises_hold_whatever_happens(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        _, wrong = simulate(seed)
        assert not wrong, f"seed {seed}: {wrong}"


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_is_not_found_again(seed: int) -> None:
    _, wrong = simulate(seed)
    assert not wrong, FOUND[seed]


@settings(
    max_examples=1000 if SOAK else 40,
    deadline=None,
    derandomize=not SOAK,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(STEPS)
def test_all_promises_hold_for_steps_of_any_kind(steps: list[Step]) -> None:
    """Other mixtures than those of the seeds; a failing one is shrunk to its core."""
    _, wrong = simulate(0, [Step(Do.JOIN), *steps])
    assert not wrong


def test_a_seed_does_the_same_each_time() -> None:
    first, second = (list(simulate(7)[0]) for _ in range(2))
    assert first == second
    assert len(first) > 100


def test_the_seeds_do_what_they_are_for() -> None:
    """A simulation in which nothing happens would hold all promises as well."""
    seen: set[object] = set()
    done: set[Do] = set()
    for seed in range(40):
        done |= {step.do for step in plan(seed)}
        for happening in simulate(seed)[0]:
            if isinstance(happening, Answered):
                seen.add(happening.outcome)
            elif isinstance(happening, Caught):
                seen.add("snapshot" if happening.whole else "journal")
            elif isinstance(happening, (Met, Saw, Took)):
                seen.add(type(happening))
    assert done == set(Do)
    assert seen >= {"executed", "canceled", "unknown", "unsent", "snapshot", "journal"}
    assert seen >= {Met, Saw, Took}
