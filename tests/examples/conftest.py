from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.examples.warm import warm


@pytest.fixture(scope="session", autouse=True)
def programs_start_warm() -> Iterator[None]:
    with warm():
        yield
