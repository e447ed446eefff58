"""A machine that a subscriber does not follow, or no longer."""

from __future__ import annotations

import pytest

from amzmq import Subscriber
from amzmq.errors import NotConnected
from tests.rpc.rig import ADDR, QUICK, World, machine, soon


async def test_a_machine_that_is_not_followed_has_nobody_to_keep_it_level(world: World) -> None:
    await world.serve(machine("door"))
    sub = Subscriber(ADDR, transport=world.network.transport(), **QUICK)
    sub.start()
    try:
        await soon(sub.ready())
        assert sub.machine("door").follower.number >= 0
        with pytest.raises(NotConnected, match="other is not followed"):
            sub.machine("other").follower  # noqa: B018
        sub.machine("door").following.leave()
        with pytest.raises(NotConnected, match="door is not followed"):
            sub.machine("door").follower  # noqa: B018
    finally:
        await sub.stop()
