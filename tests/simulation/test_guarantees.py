"""The promises of docs/guarantees.md, one test each, over the same simulated worlds."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracles.history import (
    Answered,
    AtRest,
    Beat,
    Caught,
    Happening,
    Heard,
    History,
    Met,
    Saw,
    Took,
)
from tests.oracles.index import Index
from tests.oracles.promises import JUDGES, Promise
from tests.simulation.driver import simulate

SEEDS = range(500, 530)
PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


@functools.cache
def histories() -> list[History]:
    return [simulate(seed)[0] for seed in SEEDS]


def check(promise: Promise, *evidence: type[Happening]) -> None:
    """Nothing breaks the promise, and there was enough that could have."""
    for history in histories():
        assert list(JUDGES[promise](Index(history))) == []
    for kind in evidence:
        assert sum(isinstance(one, kind) for history in histories() for one in history) >= 10


def test_ordered() -> None:
    check(Promise.ORDERED, Saw, Took)


def test_unique() -> None:
    check(Promise.UNIQUE, Saw, Took)


def test_atomic() -> None:
    check(Promise.ATOMIC, Saw)


def test_reliable() -> None:
    check(Promise.RELIABLE, AtRest)


def test_resumable() -> None:
    check(Promise.RESUMABLE, Caught)


def test_bookmarked() -> None:
    check(Promise.BOOKMARKED, Beat, Heard)


def test_never_ahead() -> None:
    check(Promise.NEVER_AHEAD, Saw, Took, Met)


def test_read_your_writes() -> None:
    check(Promise.READ_YOUR_WRITES, Answered)


def test_exactly_once() -> None:
    check(Promise.EXACTLY_ONCE, Answered)


def test_every_loss_counted() -> None:
    check(Promise.LOSSES_COUNTED, Took, AtRest)


def test_the_page_names_one_test_for_each_promise() -> None:
    named = re.findall(r"^\| .* \| `(test_\w+)` \|$", PAGE.read_text(), re.MULTILINE)
    assert len(named) == len(set(named)) == len(Promise)
    assert all(callable(globals()[name]) for name in named)
