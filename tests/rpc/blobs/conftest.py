"""A net for each test: a store and its fetchers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rpc.blobs.rig import Net, end


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    yield net
    for link in net.links:
        end(link.fetcher)
    for hop in net.hops:
        hop.transit.end("the test is over")
    await net.store.close()
