"""What simulation and fault lab have found, told as short stories."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from amzmq.errors import OutcomeUnknown
from tests.rpc.rig import World, machine, soon, until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack)


async def test_a_replica_shows_what_it_knew_until_the_restarted_source_has_spoken(
    world: World,
) -> None:
    source = machine()
    source.add("A", "B")
    mux = await world.serve(source)
    client = await world.follow()
    net = client.net_mach
    ended = net.when_not("A")
    shown: list[list[str]] = []
    net.bind({"AnyState": lambda e: shown.append(net.active_states())})
    await mux.stop()
    await world.serve(source)
    await until(lambda: client.mach.is_("Ready") and client.metrics()["connects"] == 2)
    assert all("A" in states for states in shown)
    assert not ended.done()


async def test_a_call_made_while_its_client_is_stopped_ends(world: World) -> None:
    await world.serve()
    client = await world.follow(disconn_cooldown=0.05, offline_queue=4)
    net = client.net_mach
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.sleep(0)
    call = net.add("A")
    await soon(stopping)
    assert call.done()
    call.exception()


async def test_counters_of_mutations_without_a_reply_survive_the_source(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    for _ in range(3):
        client.net_mach.add_ns("A")
    await client.sync()
    assert client.metrics()["ns_received"] == 3
    await mux.stop()
    await world.serve(machine())
    await until(lambda: client.mach.is_("Ready") and client.metrics()["connects"] == 2)
    counts = client.metrics()
    assert (counts["ns_sent"], counts["ns_received"], counts["ns_lost"]) == (3, 3, 0)
    client.net_mach.add_ns("A")
    await client.sync()
    assert client.metrics()["ns_received"] == 4


async def test_a_retry_waits_until_it_is_known_who_answers(world: World) -> None:
    """The call's source dies; its successor must not run the retry before the handshake ends."""
    mux = await world.serve()
    client = await world.follow(call_timeout=0.05, call_retry_delay=0.001)
    source = machine()
    assert mux._transport is not None
    call = client.net_mach.add("Multi")
    await mux._transport.close()
    world.network.feed_fault = lambda frame: ()  # the handshake waits for the feed
    await world.serve(source, name="other")
    await until(lambda: client.mach.is_("Handshaking"))
    await until(lambda: client.metrics()["calls_retried"] >= 2)
    assert source.tick("Multi") == 0
    world.network.feed_fault = None
    with pytest.raises(OutcomeUnknown, match="restarted"):
        await soon(call)
    assert source.tick("Multi") == 0
