"""Who becomes a client, of what: the factory of servers, and the list of those who may come."""

from __future__ import annotations

from typing import Any

import pytest

from amzmq.errors import LimitExceeded, NoAccess, NotConnected, Refused, RpcError, SchemaMismatch
from amzmq.machine import Machine, Result, State
from amzmq.rpc import Client, Mux
from amzmq.rpc.server.admission import ServerRequest
from amzmq.rpc.server.server import Server
from amzmq.wire.view import EVERYTHING, View
from tests.rpc.rig import ADDR, QUICK, World, level, machine, soon, turns, until


async def refused(world: World, error: type[RpcError], match: str, **options: Any) -> Client:
    """A client that comes, and is turned away."""
    client = world.client(**options)
    client.start()
    with pytest.raises(error, match=match):
        await soon(client.ready())
    return client


async def test_a_factory_is_asked_for_each_client_and_told_who_and_what(world: World) -> None:
    asked: list[ServerRequest] = []

    def new_server(request: ServerRequest) -> Server:
        asked.append(request)
        return request.serve()

    mux = await world.serve(new_server=new_server)
    await world.follow("one")
    await world.follow("two", machine="src", allowed_states=["A"])
    assert [(r.client_id, r.machine_id, r.user) for r in asked] == [
        ("rc-one", "", ""),
        ("rc-two", "src", ""),
    ]
    assert [r.view for r in asked] == [EVERYTHING, View(allowed=frozenset({"A"}))]
    assert set(mux.clients) == {"rc-one", "rc-two"}


async def test_a_factory_may_give_each_client_a_machine_of_its_own(world: World) -> None:
    own: dict[str, Machine] = {}

    def new_server(request: ServerRequest) -> Server:
        source = own.setdefault(request.client_id, machine(f"of-{request.client_id}"))
        return request.serve(source)

    mux = Mux(bind=ADDR, transport=world.network.transport(), new_server=new_server)
    world._stack.push_async_callback(mux.stop)
    await mux.start()
    one, two = await world.follow("one"), await world.follow("two")
    await soon(one.net_mach.add("A"))
    await soon(two.net_mach.add("B"))
    assert own["rc-one"].active_states() == ["A"]
    assert own["rc-two"].active_states() == ["B"]
    own["rc-one"].add("Multi")
    await level(own["rc-one"], one)
    assert one.net_mach.remote_id == "of-rc-one"
    with pytest.raises(Refused):
        _ = mux.source


async def test_a_factory_may_show_less_than_was_asked_for(world: World) -> None:
    def new_server(request: ServerRequest) -> Server:
        return request.serve(view=View(allowed=frozenset({"A"})))

    mux = await world.serve(new_server=new_server)
    client = await world.follow()
    mux.source.add("A", "Multi")
    await soon(client.net_mach.when("A"))
    await soon(client.sync())
    assert client.net_mach.active_states() == ["A"]
    assert client.net_mach.tracked_states == ("A",)


REASONS = {
    "refused": (Refused("closed on Sundays"), Refused, "closed on Sundays"),
    "no access": (NoAccess("not you"), NoAccess, "not you"),
    "limit": (LimitExceeded("ten are here"), LimitExceeded, "ten are here"),
    "schema": (SchemaMismatch("no Foo"), SchemaMismatch, "no Foo"),
}


@pytest.mark.parametrize("name", REASONS)
async def test_a_client_is_turned_away_with_the_reason_and_does_not_insist(
    world: World, name: str
) -> None:
    reason, error, text = REASONS[name]

    def new_server(request: ServerRequest) -> Server:
        raise reason

    mux = await world.serve(new_server=new_server)
    client = await refused(world, error, text)
    await turns(50)
    assert (mux.counters.hellos, mux.counters.refused) == (1, 1)
    assert client.mach.is_("ConnRetryFailed")
    # To turn somebody away is no error of the factory.
    assert mux.mach.not_("NewServerErr", "HasClients", "Exception")
    assert mux.new_server_err is None


async def test_a_factory_that_fails_is_told_by_a_state_and_others_are_served(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def new_server(request: ServerRequest) -> Server:
        if request.client_id == "rc-bad":
            raise ZeroDivisionError("by mistake")
        return request.serve()

    mux = await world.serve(new_server=new_server)
    told: list[object] = []
    mux.mach.bind({"NewServerErrState": lambda e: told.append(e.args["err"])})
    await refused(world, NoAccess, "no server could be made for rc-bad", name="bad")
    assert mux.mach.is_("NewServerErr", "Ready")
    assert told == [mux.new_server_err]
    assert isinstance(mux.new_server_err, ZeroDivisionError)
    assert "new_server failed for rc-bad" in caplog.text
    assert mux.counters.refused == 1
    good = await world.follow("good")
    assert await soon(good.net_mach.add("A")) == Result.EXECUTED


async def test_a_client_that_was_turned_away_may_come_again_later(world: World) -> None:
    closed = [True]

    def new_server(request: ServerRequest) -> Server:
        if closed:
            raise NoAccess("closed")
        return request.serve()

    await world.serve(new_server=new_server)
    client = await refused(world, NoAccess, "closed")
    closed.clear()
    client.start()
    await soon(client.ready())
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED


async def test_a_factory_is_asked_again_when_a_client_comes_back(world: World) -> None:
    count: list[str] = []

    def new_server(request: ServerRequest) -> Server:
        count.append(request.client_id)
        if len(count) > 1:
            raise NoAccess("once is enough")
        return request.serve()

    await world.serve(new_server=new_server)
    client = await world.follow("one")
    failed = client.mach.when("ConnRetryFailed")
    world.network.partition(True)
    await until(lambda: client.mach.not_("Ready"))
    world.network.partition(False)
    await soon(failed)
    assert count == ["rc-one", "rc-one"]


async def test_only_ids_that_are_allowed_come_in(world: World) -> None:
    mux = await world.serve(allow_ids=["rc-one", "rc-two"])
    await world.follow("one")
    await world.follow("two")
    await refused(world, NoAccess, "'rc-three' is not among the clients", name="three")
    assert set(mux.clients) == {"rc-one", "rc-two"}
    assert mux.counters.refused == 1


async def test_an_empty_list_of_ids_allows_nobody(world: World) -> None:
    await world.serve(allow_ids=[])
    await refused(world, NoAccess, "'rc-one' is not among", name="one")


async def test_ids_are_looked_at_before_the_factory_is_asked(world: World) -> None:
    asked: list[str] = []

    def new_server(request: ServerRequest) -> Server:
        asked.append(request.client_id)
        return request.serve()

    await world.serve(allow_ids=["rc-one"], new_server=new_server)
    await refused(world, NoAccess, "'rc-two' is not among", name="two")
    await world.follow("one")
    assert asked == ["rc-one"]


async def test_there_is_a_limit_to_the_views_of_one_machine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amzmq.rpc.server.feed.STREAM_LIMIT", 2)
    await world.serve()
    first = await world.follow(allowed_states=["A"])
    await refused(world, LimitExceeded, "2 different views of src", allowed_states=["B"])
    await world.follow(allowed_states=["A"])
    await world.follow()
    assert await soon(first.net_mach.add("A")) == Result.EXECUTED


async def test_nobody_is_turned_away_in_silence_over_real_sockets() -> None:
    source = Machine({"A": State()}, id="src")
    async with Mux(source, allow_ids=["rc-one"]) as mux:
        with pytest.raises(NoAccess, match="'rc-two' is not among"):
            async with Client(mux.addr, name="two", **QUICK):
                pass
        async with Client(mux.addr, name="one", **QUICK) as client:
            assert await soon(client.net_mach.add("A")) == Result.EXECUTED


async def test_where_nobody_serves_that_is_what_is_said(world: World) -> None:
    await world.serve()
    client = world.client(addr="mem://nowhere", conn_timeout=0.01, conn_retries=0)
    client.start()
    with pytest.raises(RpcError, match="no source at mem://nowhere"):
        await soon(client.ready())
    assert isinstance(client.mach.err(), NotConnected)
