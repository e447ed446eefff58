from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

from amzmq import Client, Result
from tests.examples.programs import ANY, EXAMPLES, amzmq, python, running
from tests.ports import free_addr

FLAGS = EXAMPLES / "feature_flags" / "flags.py"
SERVICE = EXAMPLES / "feature_flags" / "service.py"


async def test_the_whole_fleet_follows_each_switch() -> None:
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(running(*python(FLAGS, ANY)))
        addr = await owner.addr()
        fleet = [await stack.enter_async_context(running(*python(SERVICE, addr))) for _ in range(3)]
        await asyncio.gather(*(service.says("old checkout, light") for service in fleet))
        await amzmq("add", addr, "DarkMode")
        await asyncio.gather(*(service.says("old checkout, dark") for service in fleet))
        await amzmq("add", addr, "NewCheckout")
        await asyncio.gather(*(service.says("new checkout, dark") for service in fleet))
        # Maintenance pushes out the payments, and the checkout that requires them.
        await amzmq("add", addr, "Maintenance")
        await asyncio.gather(*(service.says("back soon") for service in fleet))


async def test_a_new_checkout_needs_payments_and_the_end_of_maintenance_a_name() -> None:
    async with running(*python(FLAGS, ANY)) as owner:
        addr = await owner.addr()
        async with Client(addr) as client:
            flags = client.net_mach
            await flags.add("Maintenance")
            assert await flags.add("NewCheckout") is Result.CANCELED
            assert await flags.remove("Maintenance") is Result.CANCELED
            assert await flags.remove("Maintenance", by="ann") is Result.EXECUTED


async def test_a_service_serves_on_with_the_last_flags_while_their_owner_is_away() -> None:
    addr = free_addr()
    async with running(*python(FLAGS, addr)) as owner:
        assert await owner.addr() == addr
        await amzmq("add", addr, "DarkMode")
        async with running(*python(SERVICE, addr)) as service:
            await service.says("old checkout, dark")
            owner.send(signal.SIGKILL)
            await owner.ended()
            async with running(*python(FLAGS, addr)) as restarted:
                # The new owner knows nothing of the dark mode, and so it is told.
                await service.says("old checkout, light")
                restarted.send(signal.SIGINT)
                assert await restarted.ended() == 0
            service.send(signal.SIGINT)
            assert await service.ended() == 0
