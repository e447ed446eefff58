"""A goodbye comes another way than the changes before it, and is not taken for their end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from amzmq.rpc import Client, Mux, Subscriber
from amzmq.rpc.client import farewell
from tests.rpc.rig import ADDR, QUICK, World, clock_of, level, machine, soon, until


def late(frame: bytes) -> Sequence[float]:
    """The feed is slower than the conversation, but not too slow."""
    return (0.05,)


def never(frame: bytes) -> Sequence[float]:
    return ()


async def ended(mux: Mux, client: Client | Subscriber) -> None:
    """The source says its last, and goodbye."""
    for source in mux.sources.values():
        source.add("Multi")
    await soon(mux.stop())
    await until(lambda: client.mach.not_("Connected"))


async def test_the_last_change_is_seen_although_the_goodbye_is_faster(world: World) -> None:
    mux = await world.serve()
    source = mux.source
    client = await world.follow(reconnect=False)
    world.network.feed_fault = late
    await ended(mux, client)
    assert clock_of(client.net_mach) == clock_of(source)
    assert client.metrics()["resyncs"] == 0


async def test_a_last_change_that_was_lost_is_asked_for(world: World) -> None:
    mux = await world.serve()
    source = mux.source
    client = await world.follow(reconnect=False)
    world.network.feed_fault = never
    await ended(mux, client)
    assert clock_of(client.net_mach) == clock_of(source)
    assert client.metrics()["resyncs"] == 1


async def test_each_client_of_a_shared_stream_takes_its_time(world: World) -> None:
    mux = await world.serve()
    source = mux.source
    clients = [await world.follow(f"c{n}", reconnect=False) for n in range(3)]
    world.network.feed_fault = late
    await ended(mux, clients[0])
    await until(lambda: all(client.mach.not_("Connected") for client in clients))
    assert {clock_of(client.net_mach) for client in clients} == {clock_of(source)}


async def test_a_subscriber_sees_the_last_change_of_each_machine(world: World) -> None:
    others = [machine(f"m{n}") for n in range(3)]
    mux = await world.serve()
    for other in others:
        mux.serve(other)
    subscriber = Subscriber(ADDR, transport=world.network.transport(), **QUICK)
    async with subscriber:
        world.network.feed_fault = late
        await ended(mux, subscriber)
        for source in (mux.source, *others):
            assert clock_of(subscriber.machines[source.id]) == clock_of(source)


async def test_it_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farewell, "FAREWELL_WAIT", 0.01)  # less than it takes to ask
    mux = await world.serve()
    client = await world.follow(reconnect=False)
    world.network.feed_fault = never
    await ended(mux, client)
    assert client.net_mach.tick("Multi") == 0


async def test_who_stops_meanwhile_is_not_held_up(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    world.network.feed_fault = never
    mux.source.add("Multi")
    stopping = asyncio.create_task(mux.stop())
    await until(lambda: client.conversation._farewell is not None)
    await soon(client.stop())
    await soon(stopping)
    assert client.mach.is_disposed


async def test_a_machine_that_is_served_no_longer_is_left_at_its_last(world: World) -> None:
    mux = await world.serve()
    other = machine("other")
    mux.serve(other)
    client = await world.follow(machine="other", reconnect=False)
    await level(other, client)
    world.network.feed_fault = late
    other.add("Multi")
    mux.unserve("other")
    await until(lambda: client.mach.not_("Connected"))
    assert clock_of(client.net_mach) == clock_of(other)
