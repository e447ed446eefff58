"""What a Mux is told about those who may come, and what it tells them."""

from __future__ import annotations

import pytest

from amzmq.errors import NoAccess, Refused
from amzmq.machine import Machine, Result
from amzmq.rpc import NewServerFn, Server, ServerRequest, client_id, list_machines
from tests.rpc.rig import ADDR, World, level, machine, soon, turns


async def test_only_clients_that_are_allowed_are_served(world: World) -> None:
    mux = await world.serve(allow_ids=[client_id("one")])
    one = await world.follow("one")
    two = world.client("two")
    two.start()
    with pytest.raises(NoAccess):
        await soon(two.ready())
    assert list(mux.clients) == [client_id("one")]
    await one.net_mach.add("A")
    assert mux.source.is_("A")


async def test_the_machine_of_a_mux_belongs_to_its_parent(world: World) -> None:
    parent = Machine({}, id="app")
    mux = await world.serve(parent=parent)
    assert mux.mach.parent is parent


async def test_the_arguments_that_a_machine_takes_can_be_asked_for(world: World) -> None:
    class A:
        user: str
        door: int

    await world.serve(args=[A])
    (found,) = await list_machines(ADDR, transport=world.network.transport())
    assert found.id == "src"
    assert list(found.args) == ["A.user", "A.door"]
    client = await world.follow()
    assert list(await soon(client.args())) == ["A.user", "A.door"]


async def test_changes_within_the_push_interval_are_one_update(world: World) -> None:
    source = machine()
    mux = await world.serve(source, push_interval=0.2)
    client = await world.follow()
    before = mux.published["updates"]
    for _ in range(5):
        source.add("Multi")
        await turns()
    await level(source, client)
    assert mux.published["updates"] - before <= 2


async def test_the_machines_that_a_mux_serves_are_listed(world: World) -> None:
    mux = await world.serve()
    other = machine("other")
    mux.serve(other)
    assert mux.sources == {"src": mux.source, "other": other}
    mux.unserve("other")
    assert list(mux.sources) == ["src"]


def only(allowed: str) -> NewServerFn:
    """A factory that serves one client, and breaks for one named broken."""

    def new_server(request: ServerRequest) -> Server:
        if request.client_id == client_id("broken"):
            raise ZeroDivisionError
        if request.client_id != client_id(allowed):
            raise NoAccess(f"{request.client_id} may not")
        return request.serve()

    return new_server


async def test_a_factory_makes_the_server_of_each_client(world: World) -> None:
    mux = await world.serve(new_server=only("one"))
    one, two = await world.follow("one"), world.client("two")
    two.start()
    with pytest.raises(NoAccess, match="rc-two may not"):
        await soon(two.ready())
    assert list(mux.clients) == [client_id("one")]
    assert await soon(one.net_mach.add("A")) == Result.EXECUTED


async def test_a_factory_that_fails_is_told_by_a_state(world: World) -> None:
    mux = await world.serve(new_server=only("one"))
    broken = world.client("broken")
    broken.start()
    with pytest.raises(Refused):
        await soon(broken.ready())
    assert mux.mach.is_("NewServerErr")
    assert type(mux.new_server_err) is ZeroDivisionError
