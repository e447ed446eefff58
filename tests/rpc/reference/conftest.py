from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from .sources import Links


@pytest.fixture
async def link() -> AsyncIterator[Links]:
    async with AsyncExitStack() as stack:
        yield Links(stack)
