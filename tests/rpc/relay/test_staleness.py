"""Whoever follows by way of relays knows when one of them has lost its source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from amzmq.errors import NotConnected
from amzmq.rpc import Client, Mux, Subscriber
from amzmq.wire.feed import Heartbeat, parse_body
from tests.rpc.relay.test_relay import R1, R2, Tree
from tests.rpc.rig import ADDR, level, machine, soon, until

R3, TOP = "mem://r3", "mem://top"


@pytest.fixture
async def tree() -> AsyncIterator[Tree]:
    async with AsyncExitStack() as stack:
        yield Tree(stack)


async def test_a_client_two_relays_below_a_lost_source_is_stale_until_it_is_back(
    tree: Tree,
) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    low = await tree.relayed(R2, R1)
    client = await tree.follow(addr=R2)
    assert not client.net_mach.is_stale
    await mux.stop()
    await soon(client.mach.when("Stale"))
    assert client.net_mach.is_stale
    assert "stale" in client.net_mach.tags
    assert client.mach.is_("Ready"), "the relay that it follows is there"
    assert low.mach.is_("Stale")
    again = await tree.serve(machine())
    again.source.add("A")
    await soon(client.mach.when_not("Stale"))
    await soon(low.mach.when("Ready"))
    await level(again.source, client)
    assert not client.net_mach.is_stale
    assert "stale" not in client.net_mach.tags


async def test_the_word_of_it_does_not_wait_for_the_next_heartbeat(tree: Tree) -> None:
    mux = await tree.serve()
    for bind, upstream in ((R1, ADDR), (R2, R1), (R3, R2)):
        await tree.relayed(bind, upstream, heartbeat=3600.0)
    client = await tree.follow(addr=R3)
    await mux.stop()
    await soon(client.mach.when("Stale"))
    await tree.serve(machine())
    await soon(client.mach.when_not("Stale"))


async def test_a_newcomer_at_a_stale_relay_is_told_so(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    low = await tree.relayed(R2, R1)
    await mux.stop()
    await soon(low.mach.when("Stale"))
    late = await tree.follow("late", addr=R2)
    await soon(late.mach.when("Stale"))
    later = await tree.relayed(R3, R2)
    await soon(later.mach.when("Stale"))


async def test_a_follower_of_a_part_is_told_as_well(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    await tree.relayed(R2, R1)
    part = await tree.follow("part", addr=R2, allowed_states=["A"])
    await mux.stop()
    await soon(part.mach.when("Stale"))
    await tree.serve(machine())
    await soon(part.mach.when_not("Stale"))


async def test_a_subscriber_shows_which_of_its_machines_are_stale(tree: Tree) -> None:
    one, two = machine("one"), machine("two")
    first = Mux([one], "mem://one", transport=tree.network.transport())
    await first.start()
    relay = await tree.relayed(R1, "mem://one")
    async with (
        Mux([two, relay.machines["one"]], TOP, transport=tree.network.transport(), heartbeat=0.05),
        Subscriber(TOP, transport=tree.network.transport()) as subscriber,
    ):
        await soon(subscriber.ready())
        await first.stop()
        await soon(subscriber.mach.when("Stale"))
        stale = {id: net.is_stale for id, net in subscriber.machines.items()}
        assert stale == {"one": True, "two": False}
        async with Mux([machine("one")], "mem://one", transport=tree.network.transport()):
            await soon(subscriber.mach.when_not("Stale"))
            assert not any(net.is_stale for net in subscriber.machines.values())


async def test_a_replica_without_a_connection_is_stale_too(tree: Tree) -> None:
    mux = await tree.serve()
    client = await tree.follow()
    net = client.net_mach
    await mux.stop()
    await until(lambda: net.is_stale)
    assert client.mach.not_("Ready", "Stale"), "there is nobody to say so"
    with pytest.raises(NotConnected):
        await soon(net.add("A"))
    await tree.serve(machine())
    await until(lambda: client.mach.is_("Ready") and not net.is_stale)


async def test_a_replica_that_is_served_on_tells_what_its_client_knows(tree: Tree) -> None:
    mux = await tree.serve()
    middle = await tree.follow("middle")
    async with Mux(middle.net_mach, TOP, transport=tree.network.transport(), heartbeat=0.05) as top:
        async with Client(top.addr, transport=tree.network.transport()) as leaf:
            await mux.stop()
            await soon(leaf.mach.when("Stale"))
            await tree.serve(machine())
            await soon(leaf.mach.when_not("Stale"))


async def test_heartbeats_of_who_is_not_stale_are_as_short_as_ever() -> None:
    assert len(Heartbeat(1, 2, True).body()) == len(Heartbeat(1, 2).body()) + 1
    assert parse_body(Heartbeat(1, 2, True).body()) == Heartbeat(1, 2, True)
