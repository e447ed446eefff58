"""Who is there, and who is not: both ends know, and say it with their states."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from amzmq.errors import AddressInUse, NotConnected, RpcError
from amzmq.net import RandomFaults
from amzmq.rpc import Client, Mux
from amzmq.rpc.server import sessions
from amzmq.rpc.server.server import Server
from amzmq.wire.control import Bye, Ping
from amzmq.wire.control_frames import to_frame
from tests.rpc.rig import ADDR, World, level, machine, new_world, soon, turns, until
from tests.rpc.virtual_time import in_virtual_time
from tests.states.walk import Walk


async def test_has_clients_holds_while_any_client_is_there(world: World) -> None:
    mux = await world.serve()
    assert mux.mach.is_("Start", "Ready")
    assert mux.mach.not_("HasClients")
    clients = [await world.follow(f"c{n}") for n in range(3)]
    assert mux.mach.is_("HasClients")
    assert set(mux.clients) == {"rc-c0", "rc-c1", "rc-c2"}
    for gone, client in enumerate(clients, 1):
        assert mux.mach.is_("HasClients")
        await client.stop()
        await until(lambda n=gone: len(mux.clients) == 3 - n)
    assert mux.mach.not_("HasClients")
    assert mux.mach.tick("HasClients") == 2


async def test_a_client_that_stops_says_goodbye_and_is_gone_at_once(world: World) -> None:
    mux = await world.serve(heartbeat=1000.0)
    client = await world.follow(disconn_cooldown=0.01)
    await client.stop()
    await until(lambda: not mux.clients)
    assert mux.mach.not_("HasClients")
    assert mux.counters.expired == 0


async def test_a_source_that_stops_is_seen_by_its_clients(world: World) -> None:
    mux = await world.serve()
    clients = [await world.follow() for _ in range(3)]
    await mux.stop()
    await until(lambda: not any(client.mach.is_("Ready") for client in clients))
    assert mux.mach.is_disposed
    for client in clients:
        with pytest.raises(NotConnected):
            await client.net_mach.add("A")
        assert client.mach.is_("Start")


async def test_a_client_that_meets_a_stopping_source_comes_to_the_next(world: World) -> None:
    mux = await world.serve()
    deaf = await world.follow("deaf")
    assert deaf._connection is not None
    deaf._connection.send = lambda message: True  # type: ignore[method-assign]
    stopping = asyncio.create_task(mux.stop())
    await turns()
    late = world.client("late")
    late.start()
    await until(lambda: late.mach.is_("RetryingConn"))
    await soon(stopping)
    again = await world.serve()
    await soon(late.ready())
    assert "rc-late" in again.clients


@in_virtual_time
async def test_a_silent_client_is_given_up_and_others_are_not() -> None:
    async with new_world() as world:
        mux = await world.serve(heartbeat=0.05)
        silent, lively = await world.follow("silent"), await world.follow("lively")
        assert silent._connection is not None
        silent._connection.send = lambda message: True  # type: ignore[method-assign]
        await until(lambda: "rc-silent" not in mux.clients)
        assert mux.mach.is_("HasClients")
        assert mux.counters.expired == 1
        assert list(mux.clients) == ["rc-lively"]
        assert lively.mach.tick("Ready") == 1
        await lively.stop()
        await until(lambda: mux.mach.not_("HasClients"))


async def test_a_client_that_was_given_up_by_mistake_comes_back_by_itself(world: World) -> None:
    mux = await world.serve(heartbeat=0.05)
    client = await world.follow("one")
    mux._dispatch.hear(mux._sessions.peers()[0][0], to_frame(Bye("by mistake")), ())
    assert mux.mach.not_("HasClients")
    await until(lambda: "rc-one" in mux.clients)
    await soon(client.mach.when("Ready"))
    assert mux.mach.is_("HasClients")
    mux.source.add("A")
    await level(mux.source, client)


def noting(
    heard: Counter[str], server: Server, ping: Callable[[Ping, int], None]
) -> Callable[[Ping, int], None]:
    """Counts who pings."""

    def noted(message: Ping, every: int) -> None:
        heard[server.client.name] += 1
        ping(message, every)

    return noted


@in_virtual_time
async def test_many_clients_share_the_heartbeats_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with new_world() as world:
        monkeypatch.setattr(sessions, "PINGS_A_BEAT", 2)
        mux = await world.serve(heartbeat=0.02)
        clients = [await world.follow(f"c{n}") for n in range(8)]
        await until(lambda: all(client.conversation.pulse.every == 4 for client in clients))
        heard = Counter[str]()
        for server in mux.servers:
            monkeypatch.setattr(server, "ping", noting(heard, server, server.ping))
        beats = mux._sources.feeds[0].full.encoded
        await until(lambda: mux._sources.feeds[0].full.encoded >= beats + 40)
        assert len(heard) == 8, "nobody is left out"
        assert sum(heard.values()) <= 40 * 2 + 8 * 2
        assert mux.counters.expired == 0
        assert all(client.mach.tick("Ready") == 1 for client in clients)


@in_virtual_time
async def test_a_silent_client_of_many_is_given_up_after_three_beats_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with new_world() as world:
        monkeypatch.setattr(sessions, "PINGS_A_BEAT", 1)
        mux = await world.serve(heartbeat=0.02)
        clients = [await world.follow(f"c{n}") for n in range(4)]
        await until(lambda: all(server.ping_every == 4 for server in mux.servers))
        silent = clients[0]
        assert silent._connection is not None
        silent._connection.send = lambda message: True  # type: ignore[method-assign]
        (server,) = (server for server in mux.servers if server.client.name == "rc-c0")
        await until(lambda: "rc-c0" not in mux.clients)
        assert asyncio.get_running_loop().time() - server.last_seen > 3 * 4 * 0.02
        assert mux.counters.expired == 1


async def test_a_source_that_falls_silent_is_noticed(world: World) -> None:
    await world.serve(heartbeat=0.02)
    client = await world.follow()
    world.network.control_fault = world.network.feed_fault = RandomFaults(0, drop=1.0)
    await until(lambda: client.mach.is_("RetryingConn"))
    assert client.mach.tick("ErrNetwork") > 0
    assert "silent for" in str(client.mach.err())
    world.network.control_fault = world.network.feed_fault = None
    await soon(client.mach.when("Ready"))


async def test_saying_hello_again_does_not_make_has_clients_blink(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    ticks = mux.mach.tick("HasClients")
    client.mach.add("Handshaking")
    await until(lambda: client.metrics()["connects"] == 2)
    assert len(mux.clients) == 1
    assert mux.mach.tick("HasClients") == ticks


async def test_the_lag_of_a_client_is_known_from_its_heartbeat(world: World) -> None:
    mux = await world.serve(heartbeat=0.05)
    await world.follow("one")
    for _ in range(5):
        mux.source.toggle("A")
        await turns(2)
    await until(lambda: mux.clients == {"rc-one": 0})


async def test_the_states_of_a_client_on_its_way(world: World) -> None:
    await world.serve()
    client = world.client()
    walk = Walk()
    client.mach.bind_tracer(walk)
    client.start()
    await soon(client.ready())
    assert walk.steps("Start", "Connecting") == [{"Start", "Connecting"}]
    assert walk.steps("Connecting", "Connected", "Handshaking", "HandshakeDone", "Ready") == [
        {"Connecting"},
        {"Connected", "Handshaking"},
        {"HandshakeDone"},
        {"Ready"},
    ]
    assert client.mach.is_("Start", "Connected", "HandshakeDone", "Ready")
    assert client.mach.not_("Connecting", "Handshaking", "Disconnected", "Exception")
    walk.entered.clear()
    world.network.partition(True)
    await until(lambda: walk.steps("Connecting"))
    assert walk.steps("Disconnected", "RetryingConn", "Connecting")[:3] == [
        {"Disconnected"},
        {"RetryingConn"},
        {"Connecting"},
    ]
    assert client.mach.tick("ErrNetwork") > 0
    assert client.mach.not_("Exception")
    world.network.partition(False)
    await soon(client.mach.when("Ready"))
    assert client.mach.not_("RetryingConn", "Disconnected")
    walk.entered.clear()
    await client.stop()
    assert walk.steps("Disconnecting") == [{"Disconnecting"}]
    assert client.mach.is_disposed


async def test_the_states_of_a_server(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    server = mux.servers[0]
    assert server.mach.id == "rs-one" or server.mach.id == "rs-rc-one"
    assert server.mach.is_("Start", "RpcReady", "ClientConnected", "HandshakeDone", "Ready")
    assert server.mach.not_("Handshaking", "RpcStarting", "RpcAccepting")
    await client.stop()
    await until(lambda: server.mach.is_disposed)


async def test_every_client_that_comes_ticks_client_connected(world: World) -> None:
    mux = await world.serve()
    for _ in range(3):
        client = await world.follow()
        await client.stop()
    assert mux.mach.tick("ClientConnected") in (3, 5)  # multi: 1, then 2 each, or left between


async def test_an_address_that_is_taken_is_said_and_nothing_is_left(world: World) -> None:
    await world.serve()
    other = Mux(machine("other"), bind=ADDR, transport=world.network.transport())
    with pytest.raises(AddressInUse, match=r"^address 'mem://source' is in use"):
        await other.start()
    assert other.mach.not_("Ready")
    with pytest.raises(NotConnected, match="does not serve"):
        _ = other.addr


async def test_a_mux_that_found_its_address_taken_serves_once_it_is_free(world: World) -> None:
    source = machine("other")
    first = await world.serve()
    other = Mux(source, bind=ADDR, transport=world.network.transport())
    for _ in range(2):
        with pytest.raises(AddressInUse):
            await other.start()
    await first.stop()
    await other.start()
    assert other.mach.is_("Ready")
    client = await world.follow("late")
    await soon(client.net_mach.add("A"))
    assert source.is_("A")
    await client.stop()
    await other.stop()


async def test_a_mux_whose_feed_has_no_place_leaves_the_other_address_free(world: World) -> None:
    first = await world.serve()
    feed = first.feed_addr
    other = Mux(machine("other"), "mem://o", feed, transport=world.network.transport())
    with pytest.raises(AddressInUse, match="feed"):
        await other.start()
    assert "mem://o" not in world.network.routers
    await first.stop()
    async with other:
        assert other.addr == "mem://o"
        await world.follow("late", addr="mem://o")


async def test_a_mux_serves_once(world: World) -> None:
    mux = await world.serve()
    with pytest.raises(RpcError, match="serves already at mem://source"):
        await mux.start()
    await mux.stop()
    await mux.stop()


def test_a_client_without_an_address_is_refused_before_anything_is_made() -> None:
    with pytest.raises(NotConnected, match="addr is empty"):
        Client("")


def test_a_consumer_without_its_states_is_refused() -> None:
    with pytest.raises(RpcError, match="lacks states of ConsumerStates"):
        Client(ADDR, consumer=machine())
