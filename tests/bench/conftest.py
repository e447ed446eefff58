"""What several tests of the benchmarks need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import workers
from tests.bench.nursery import Nursery


@pytest.fixture(scope="session")
def _fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Matplotlib keeps its font files open from the first picture on."""
    from matplotlib.figure import Figure  # takes longer than most tests

    figure = Figure()
    figure.subplots().loglog([1, 1000], [1, 1000], label="a word")
    figure.savefig(tmp_path_factory.mktemp("first") / "picture.png")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Forks workers; the tests of this package share it."""
    one = Nursery()
    yield one
    one.close()


@pytest.fixture
def forked(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked, not started anew."""
    monkeypatch.setattr(workers, "spawn", nursery.child)
