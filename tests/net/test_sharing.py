"""A transport that several were given is closed by the last of them."""

from __future__ import annotations

import pytest

from amzmq.errors import NetError
from amzmq.net import MemoryNetwork, MemoryTransport
from amzmq.net.sharing import hold, release


def is_open(transport: MemoryTransport) -> bool:
    try:
        transport.dealer("mem://x", lambda frame, blobs: None, lambda connected: None).close()
    except NetError:
        return False
    return True


@pytest.mark.parametrize("users", [1, 2, 5])
async def test_the_last_user_closes_it(users: int) -> None:
    transport = MemoryNetwork().transport()
    for _ in range(users):
        assert hold(transport) is transport
    for _ in range(users):
        assert is_open(transport)
        await release(transport)
    assert not is_open(transport)


async def test_one_that_is_equal_to_another_is_another() -> None:
    class Alike(MemoryTransport):
        """Equal to all of its kind, and not hashable."""

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Alike)

    one, two = Alike(MemoryNetwork()), Alike(MemoryNetwork())
    hold(one)
    hold(two)
    await release(one)
    assert not is_open(one)
    assert is_open(two)
    await release(two)
    assert not is_open(two)
