"""Several machines at one address: found, listed, followed and ended each for itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from amzmq.errors import NotConnected, Refused, RpcError
from amzmq.machine import Machine, Result, State
from amzmq.net import MemoryTransport
from amzmq.rpc import Client, Mux, list_machines
from tests.rpc.rig import ADDR, QUICK, Payloads, World, clock_of, level, machine, soon, turns, until

OTHER = {"X": State(), "Y": State(require=["X"])}


def other(id: str = "other") -> Machine:
    return Machine(OTHER, id=id)


def listing(world: World) -> MemoryTransport:
    return world.network.transport()


async def several(world: World, **options: Any) -> tuple[Mux, Machine, Machine]:
    one, two = machine("one"), other("two")
    mux = Mux([one, two], bind=ADDR, transport=world.network.transport(), **options)
    world._stack.push_async_callback(mux.stop)
    await mux.start()
    return mux, one, two


async def test_a_client_follows_the_machine_it_names_and_the_first_by_default(
    world: World,
) -> None:
    mux, one, two = await several(world)
    by_default, named = await world.follow(), await world.follow(machine="two")
    assert by_default.net_mach.remote_id == "one"
    assert named.net_mach.remote_id == "two"
    assert named.net_mach.state_names == two.state_names
    assert await soon(named.net_mach.add("X", "Y")) == Result.EXECUTED
    assert await soon(by_default.net_mach.add("A")) == Result.EXECUTED
    assert two.is_("X", "Y")
    assert one.active_states() == ["A"]
    await level(one, by_default)
    await level(two, named)
    assert list(mux.sources) == ["one", "two"]
    assert mux.source is one


async def test_machines_do_not_hear_of_each_other_s_changes(world: World) -> None:
    _, one, two = await several(world)
    client = await world.follow(machine="two")
    before = client.metrics()["updates"]
    for _ in range(20):
        one.toggle("A")
        await turns(1)
    two.add("X")
    await level(two, client)
    assert client.metrics()["updates"] == before + 1


async def test_what_is_served_is_listed_without_becoming_a_client(world: World) -> None:
    mux, one, two = await several(world, args=[Charge])
    two.add("X")
    client = await world.follow(machine="two")
    for infos in (
        await soon(list_machines(ADDR, transport=listing(world))),
        await soon(client.machines()),
        mux.machines(),
    ):
        assert [info.id for info in infos] == ["one", "two"]
        assert [info.clients for info in infos] == [0, 1]
        assert [info.states for info in infos] == [len(one.state_names), len(two.state_names)]
        assert infos[1].active == ("X",)
        assert infos[1].time_sum == 1
        assert infos[1].path == ("two",)
        assert infos[0].args == ("Charge.amount",)
    assert len(mux.clients) == 1
    assert mux.counters.hellos == 1


class Charge:
    """Typed arguments of a handler."""

    amount: int


async def test_nobody_there_to_list_machines_is_said(world: World) -> None:
    with pytest.raises(NotConnected, match="nobody lists machines at mem://source within 0.05 s"):
        await list_machines(ADDR, timeout=0.05, transport=listing(world))


async def test_a_machine_may_be_served_later(world: World) -> None:
    mux, _, _ = await several(world)
    early = world.client(machine="late")
    early.start()
    with pytest.raises(Refused, match="no machine 'late' here; there is: one two"):
        await soon(early.ready())
    late = other("late")
    mux.serve(late)
    client = await world.follow(machine="late")
    late.add("X")
    await level(late, client)


async def test_two_machines_of_one_id_are_not_served_at_once(world: World) -> None:
    mux, _, _ = await several(world)
    with pytest.raises(RpcError, match="two machines 'two' to be served"):
        mux.serve(other("two"))
    with pytest.raises(RpcError, match="two machines 'x'"):
        Mux([other("x"), other("x")])


async def test_a_mux_has_something_to_serve() -> None:
    with pytest.raises(RpcError, match="nothing to serve"):
        Mux([])


async def test_a_source_that_has_stopped_keeps_nothing_of_what_it_said(world: World) -> None:
    other = machine("other")
    mux = await world.serve()
    mux.serve(other)
    await world.follow("part", allowed_states=["A"])
    mux.source.add("A")
    other.add("A")
    mux.flush()
    streams = [stream for feed in mux._sources.feeds for stream in feed.streams]
    assert all(stream.journal.size_bytes for stream in streams)
    mux.unserve("other")
    await soon(mux.stop())
    assert len(streams) == 3
    # It may take until the next collection of cycles that they are gone, with all they hold.
    assert [stream.journal.size_bytes for stream in streams] == [0, 0, 0]


async def test_clients_of_a_machine_that_is_no_longer_served_are_told(world: World) -> None:
    mux, one, two = await several(world)
    stays, goes = await world.follow(), await world.follow(machine="two", reconnect=False)
    two.add("X")  # is told before the goodbye
    mux.unserve("two")
    await until(lambda: goes.mach.not_("Ready"))
    assert goes.net_mach.is_("X")
    assert "two is no longer served" in str(goes.mach.err())
    assert list(mux.sources) == ["one"]
    with pytest.raises(Refused):
        mux.unserve("two")
    two.add("Y")
    one.add("A")
    await level(one, stays)
    assert stays.mach.tick("Ready") == 1
    assert not two.is_disposed
    assert [info.id for info in await soon(stays.machines())] == ["one"]


async def test_a_machine_that_was_taken_away_can_be_followed_again(world: World) -> None:
    mux, _, two = await several(world)
    client = await world.follow(machine="two", conn_retries=0)
    failed = client.mach.when("ConnRetryFailed")
    mux.unserve("two")
    await soon(failed)
    two.add("X")
    mux.serve(two)
    client.start()
    await soon(client.ready())
    await level(two, client)
    assert clock_of(client.net_mach) == clock_of(two)


async def test_the_default_machine_is_the_next_one_when_the_first_goes(world: World) -> None:
    mux, _, _ = await several(world)
    mux.unserve("one")
    client = await world.follow()
    assert client.net_mach.remote_id == "two"


async def test_payloads_go_to_the_followers_of_their_machine(world: World) -> None:
    mux, _, _ = await several(world)
    one, two = Payloads(await world.follow()), Payloads(await world.follow(machine="two"))
    mux.send_payload("n", 1)
    mux.send_payload("n", 2, machine="two")
    await until(lambda: one.all and two.all)
    await turns()
    assert (one.data, two.data) == ([1], [2])
    assert two.all[0].source == "two"
    with pytest.raises(Refused, match="no machine 'none'"):
        mux.send_payload("n", 3, machine="none")


async def test_one_client_process_follows_many_machines_at_once(world: World) -> None:
    machines = [other(f"m{n}") for n in range(8)]
    mux = Mux(machines, bind=ADDR, transport=world.network.transport())
    world._stack.push_async_callback(mux.stop)
    await mux.start()
    clients = [await world.follow(machine=each.id) for each in machines]
    await soon(asyncio.gather(*(client.net_mach.add("X") for client in clients)))
    for client, each in zip(clients, machines, strict=True):
        await level(each, client)
    assert [info.clients for info in mux.machines()] == [1] * 8


async def test_several_machines_over_real_sockets() -> None:
    one, two = machine("one"), other("two")
    async with (
        Mux([one, two]) as mux,
        Client(mux.addr, machine="two", **QUICK) as client,
        Client(mux.addr, **QUICK) as by_default,
    ):
        infos = await soon(list_machines(mux.addr))
        assert [(info.id, info.clients) for info in infos] == [("one", 1), ("two", 1)]
        await soon(client.net_mach.add("X"))
        await soon(by_default.net_mach.add("B"))
        await level(two, client)
        await level(one, by_default)
        gone = client.mach.when_not("Ready")
        mux.unserve("two")
        await soon(gone)
        assert by_default.mach.is_("Ready")
