"""Clients of one process that follow the same stream: one socket, one decode, one clock."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import zmq

from amzmq.machine import Result
from amzmq.net import MemoryTransport
from amzmq.rpc import Client, Mux
from amzmq.wire.control import Sync
from amzmq.wire.feed import STREAM_ID_SIZE, FeedKind
from tests.conftest import SOCKETS
from tests.rpc.rig import ADDR, FEED, QUICK, Payloads, World, clock_of, level, machine, soon, until

PATIENT = 1000.0


class Common(MemoryTransport):
    """A transport that several clients use: none of them closes it for the others."""

    async def close(self) -> None:
        """It ends with the test's network."""


async def follow(world: World, common: Common, name: str = "", **options: Any) -> Client:
    client = Client(ADDR, name=name, transport=common, **(QUICK | options))
    world._stack.push_async_callback(client.stop)
    client.start()
    await soon(client.ready())
    return client


async def together(world: World, count: int, **options: Any) -> list[Client]:
    common = Common(world.network)
    return [await follow(world, common, f"c{n}", **options) for n in range(count)]


async def test_clients_of_one_stream_share_its_socket_and_its_clock(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    clients = await together(world, 5)
    assert len({id(client.follower) for client in clients}) == 1
    assert len(world.network.subscribers[FEED]) == 1
    assert len(world.network.dealers[mux.addr]) == 5
    assert len({id(client.net_mach) for client in clients}) == 5
    assert clients[0].follower.members == tuple(clients)
    await level(mux.source, *clients)


async def test_an_update_is_decoded_and_applied_once_for_all(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    clients = await together(world, 5)
    follower = clients[0].follower
    before = follower.reader.counters.updates
    frames: list[bytes] = []
    on_frame = follower._push
    follower._push = lambda data, start=0: (  # type: ignore[method-assign]
        frames.append(data) or on_frame(data, start)
    )
    waits = [client.net_mach.when("B") for client in clients]
    for _ in range(10):
        mux.source.toggle("A")
        await level(mux.source, *clients)
    mux.source.add("B")
    for wait in waits:
        await soon(wait)
    assert follower.reader.counters.updates == before + 11
    assert len(frames) == 11
    # Each of them sees what the stream brought since it came.
    assert [client.metrics()["updates"] for client in clients] == [11] * 5


async def test_a_mutation_of_one_is_read_by_all_at_once(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    one, other = await together(world, 2)
    assert await soon(one.net_mach.add("A")) == Result.EXECUTED
    assert other.net_mach.is_("A")
    assert clock_of(other.net_mach) == clock_of(mux.source)


async def test_handlers_waits_and_payloads_belong_to_each_replica(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    one, other = await together(world, 2)
    told: list[str] = []
    one.net_mach.bind({"AState": lambda e: told.append("one")})
    other.net_mach.bind({"AState": lambda e: told.append("other")})
    taken = Payloads(one)
    mux.source.add("A")
    mux.send_payload("n", 1)
    mux.send_payload("n", 2, destination="c0")
    await until(lambda: sorted(taken.data) == [1, 2])
    assert sorted(told) == ["one", "other"]
    assert other.metrics()["payloads"] == 1
    assert other.metrics()["payloads_failed"] == 1  # it had no use for the one for all


async def test_who_comes_later_is_level_without_a_snapshot_for_the_others(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    common = Common(world.network)
    first = await follow(world, common)
    mux.source.add("A")
    await level(mux.source, first)
    late = await follow(world, common)
    assert late.follower is first.follower
    assert late.net_mach.is_("A")
    assert first.metrics()["snapshots"] == 1
    assert late.metrics()["updates"] == 0
    mux.source.add("B")
    await level(mux.source, first, late)
    assert late.metrics()["updates"] == 1


async def test_when_one_leaves_the_others_go_on(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    clients = await together(world, 3)
    follower = clients[0].follower
    while clients:
        gone = clients.pop(0)
        await gone.stop()
        assert gone not in follower.members
        mux.source.toggle("A")
        await level(mux.source, *clients)
        assert [client.mach.tick("Ready") for client in clients] == [1] * len(clients)
        assert len(world.network.subscribers[FEED]) == bool(clients)


async def test_the_replica_of_one_can_be_let_go_alone(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    one, other = await together(world, 2)
    one.net_mach.dispose()
    mux.source.add("A")
    await level(mux.source, other)
    assert not one.net_mach.active_states()
    assert other.net_mach.is_("A")


async def test_one_that_lost_its_conversation_still_reads_what_the_others_follow(
    world: World,
) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    one, other = await together(world, 2, reconnect=False)
    one.mach.add("Disconnecting")
    await soon(one.mach.when_not("Ready"))
    mux.source.add("A")
    await level(mux.source, other)
    assert one.net_mach.is_("A")


async def test_only_one_of_them_asks_for_what_is_missing(world: World) -> None:
    mux = await world.serve(heartbeat=0.05)
    clients = await together(world, 4)
    syncs = mux.counters.syncs
    lost = [()]
    world.network.feed_fault = lambda frame: (
        lost.pop() if lost and frame[STREAM_ID_SIZE] == FeedKind.UPDATE else (0.0,)
    )
    mux.source.add("A")
    await level(mux.source, *clients)
    assert mux.counters.syncs == syncs + 1
    assert clients[0].follower.resyncs == 1


@pytest.mark.parametrize("how", ["mute", "stopped"])
async def test_if_the_one_that_was_asked_dies_another_one_is_asked(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amzmq.rpc.replica.follower.RESYNC_RETRY", (0.02, 0.04))
    mux = await world.serve(heartbeat=0.1)
    clients = await together(world, 2)
    asked: list[Client] = []

    def ask(client: Client, message: Sync) -> bool:
        if not asked:
            asked.append(client)  # and its question goes nowhere
            return True
        return Client.ask(client, message)

    for client in clients:
        monkeypatch.setattr(client, "ask", lambda message, c=client: ask(c, message))
    lost = [()]
    world.network.feed_fault = lambda frame: (
        lost.pop() if lost and frame[STREAM_ID_SIZE] == FeedKind.UPDATE else (0.0,)
    )
    mux.source.add("A")
    await until(lambda: asked)
    if how == "stopped":
        await asked[0].stop()
    living = [client for client in clients if how == "mute" or client is not asked[0]]
    await level(mux.source, *living)


async def test_another_view_is_another_stream(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    common = Common(world.network)
    full = await follow(world, common)
    part = await follow(world, common, allowed_states=["A"])
    same = await follow(world, common, allowed_states=["A"])
    assert full.follower is not part.follower
    assert part.follower is same.follower
    assert len(world.network.subscribers[FEED]) == 2
    mux.source.add("A", "Multi")
    await level(mux.source, full)
    await soon(part.net_mach.when("A"))
    assert part.net_mach.not_("Multi")


async def test_transports_of_their_own_are_not_shared(world: World) -> None:
    await world.serve()
    one, other = await world.follow(), await world.follow()
    assert one.follower is not other.follower


async def test_a_restart_of_the_source_finds_them_together_again(world: World) -> None:
    first = await world.serve(heartbeat=PATIENT)
    clients = await together(world, 3)
    old = clients[0].follower
    await first.stop()
    again = await world.serve(machine(), heartbeat=PATIENT)
    again.source.add("B")
    await level(again.source, *clients)
    assert len({id(client.follower) for client in clients}) == 1
    assert clients[0].follower is not old
    assert old.members == ()
    assert len(world.network.subscribers[FEED]) == 1


async def test_a_schema_that_grows_is_adopted_once_by_all(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    clients = await together(world, 3)
    wait = clients[2].net_mach.when("Multi")
    source = mux.source
    source.set_schema({"New": source.schema["A"], **source.schema})
    source.add("New")
    await level(source, *clients)
    assert await soon(clients[1].net_mach.add("Multi")) == Result.EXECUTED
    await soon(wait)


def _subscribers() -> int:
    return sum(socket.type == zmq.SUB for socket in SOCKETS.open().values())


async def test_real_sockets_are_shared_too() -> None:
    source = machine()
    async with Mux(source) as mux:
        clients = [Client(mux.addr, name=f"c{n}", **QUICK) for n in range(4)]
        for client in clients:
            client.start()
            await soon(client.ready())
        assert len({id(client.follower) for client in clients}) == 1
        assert _subscribers() == 1
        source.add("A")
        await level(source, *clients)
        for client in clients[:3]:
            await client.stop()
        assert _subscribers() == 1
        source.add("B")
        await level(source, clients[3])
        await clients[3].stop()
        assert _subscribers() == 0


def test_each_event_loop_has_followers_of_its_own() -> None:
    async def follow(addr: str, met: threading.Barrier) -> int:
        async with Client(addr, **QUICK) as client:
            await asyncio.to_thread(met.wait, 10)
            return id(client.follower)

    async def main() -> None:
        met = threading.Barrier(2)
        async with Mux(machine()) as mux:
            ids = await asyncio.gather(
                follow(mux.addr, met),
                asyncio.to_thread(lambda: asyncio.run(follow(mux.addr, met))),
            )
        assert len(set(ids)) == 2

    asyncio.run(main())
