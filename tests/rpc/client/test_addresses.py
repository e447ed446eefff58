"""Several addresses of one source: tried in turn, at first and after each loss."""

from __future__ import annotations

import asyncio

import pytest

from amzmq.errors import AddressInvalid, ConnectFailed, NotConnected, RpcError
from amzmq.machine import Machine, Result
from amzmq.rpc import Client, Mux
from tests.rpc.rig import QUICK, World, level, machine, soon, until

ONE, TWO, THREE = "mem://one", "mem://two", "mem://three"
BRIEF = {"conn_timeout": 0.02}


async def test_the_first_address_is_tried_first(world: World) -> None:
    one, two = machine(), machine()
    await world.serve(one, bind=ONE)
    mux_two = await world.serve(two, bind=TWO)
    client = await world.follow(addr=[ONE, TWO])
    assert client.addr == ONE
    assert client.addrs == (ONE, TWO)
    await soon(client.net_mach.add("A"))
    assert one.is_("A")
    assert mux_two.counters.hellos == 0


async def test_an_address_where_nobody_is_is_passed_over(world: World) -> None:
    source = machine()
    await world.serve(source, bind=THREE)
    client = await world.follow(addr=[ONE, TWO, THREE], **BRIEF)
    assert client.addr == THREE
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED


async def test_after_a_loss_the_next_address_is_tried_and_then_the_first_again(
    world: World,
) -> None:
    source = machine()
    mux = await world.serve(source, bind=ONE)
    client = await world.follow(addr=[ONE, TWO], **BRIEF)
    wait = client.net_mach.when("B")
    net = client.net_mach
    for bind, state in ((TWO, "A"), (ONE, "Multi"), (TWO, "B")):
        await mux.stop()
        await until(lambda: client.mach.not_("Ready"))
        mux = await world.serve(source, bind=bind)
        await soon(client.mach.when("Ready"))
        assert client.addr == bind
        source.add(state)
        await level(source, client)
    await soon(wait)
    assert client.net_mach is net
    assert client.metrics()["connects"] == 4


async def test_after_a_goodbye_the_next_address_is_tried_at_once_and_not_the_same(
    world: World,
) -> None:
    source = machine()
    first = await world.serve(source, bind=ONE)
    await world.serve(source, bind=TWO)
    # Whoever dials where nobody is any more waits longer than this test does.
    client = await world.follow(addr=[ONE, TWO, THREE], conn_timeout=60.0)
    await first.stop()
    await until(lambda: client.mach.is_("Ready") and client.metrics()["connects"] == 2)
    assert client.addr == TWO


async def test_after_a_goodbye_of_the_only_address_it_is_tried_again(world: World) -> None:
    source = machine()
    first = await world.serve(source, bind=ONE)
    client = await world.follow(addr=[ONE])
    await first.stop()
    await world.serve(source, bind=ONE)
    await level(source, client)
    assert client.addr == ONE


async def test_a_connection_that_is_lost_without_a_word_is_tried_again_where_it_was(
    world: World,
) -> None:
    source = machine()
    await world.serve(source, bind=ONE)
    await world.serve(source, bind=TWO)
    client = await world.follow(addr=[ONE, TWO])
    world.network.part(ONE)
    await until(lambda: client.mach.is_("Ready") and client.metrics()["connects"] == 2)
    assert client.addr == ONE


async def test_the_same_machine_behind_two_addresses_stays_level_through_a_failover(
    world: World,
) -> None:
    source = machine()
    first = await world.serve(source, bind=ONE)
    await world.serve(source, bind=TWO)
    client = await world.follow(addr=[ONE, TWO], offline_queue=5, **BRIEF)
    for _ in range(5):
        source.add("Multi")
    await level(source, client)
    epoch = client.epoch
    gone = client.mach.when_not("Ready")
    stopping = asyncio.create_task(first.stop())
    await soon(gone)
    kept = client.net_mach.add("A")
    source.add("B")
    assert await soon(kept) == Result.EXECUTED
    await stopping
    await level(source, client)
    assert client.addr == TWO
    assert client.epoch != epoch
    assert client.net_mach.is_("A", "B", "Auto", "Multi")


async def test_a_machine_with_another_clock_behind_the_next_address_replaces_what_was_known(
    world: World,
) -> None:
    old, new = machine(), machine()
    old.add("A", "B")
    new.add("Multi")
    mux = await world.serve(old, bind=ONE)
    await world.serve(new, bind=TWO)
    client = await world.follow(addr=[ONE, TWO], **BRIEF)
    gone, come = client.net_mach.when_not("Auto"), client.net_mach.when("Multi")
    await mux.stop()
    await soon(gone)
    await soon(come)
    await level(new, client)


async def test_no_answer_at_any_address_is_said_after_all_were_tried(world: World) -> None:
    client = world.client(addr=[ONE, TWO, THREE], conn_timeout=0.01, conn_retries=5)
    tried: list[str] = []
    client.mach.bind({"ConnectingState": lambda e: tried.append(client.addr)})
    client.start()
    with pytest.raises(ConnectFailed, match="gave up after 6 attempts"):
        await soon(client.ready())
    assert isinstance(client.mach.err(), NotConnected)
    # The client's own handler ran before ours, so each is seen as it was dialled.
    assert set(tried) == {ONE, TWO, THREE}
    assert len(tried) == 6


async def test_a_refusal_is_final_whatever_other_addresses_there_are(world: World) -> None:
    refusing = await world.serve(bind=ONE, allow_ids=[])
    willing = await world.serve(bind=TWO)
    client = world.client(addr=[ONE, TWO])
    client.start()
    with pytest.raises(RpcError, match="is not among the clients"):
        await soon(client.ready())
    assert (refusing.counters.hellos, willing.counters.hellos) == (1, 0)


@pytest.mark.parametrize("addr", ["", [], [ONE, ""]])
def test_an_empty_address_is_refused_when_the_client_is_made(addr: list[str] | str) -> None:
    with pytest.raises(NotConnected, match="addr is empty"):
        Client(addr)


async def test_an_address_that_is_none_is_named(world: World) -> None:
    client = world.client(addr="nonsense")
    client.start()
    with pytest.raises(RpcError, match="'nonsense' is not a usable address") as caught:
        await soon(client.ready())
    assert isinstance(caught.value.__cause__, AddressInvalid)


async def test_a_failover_over_real_sockets() -> None:
    source = Machine(machine().schema, id="src")
    first = Mux(source)
    await first.start()
    async with Mux(source) as second:
        async with Client([first.addr, second.addr], **QUICK) as client:
            await soon(client.net_mach.add("A"))
            assert client.addr == first.addr
            moved = client.mach.when_time({"Ready": 3})
            await first.stop()
            await soon(moved)
            assert client.addr == second.addr
            assert await soon(client.net_mach.add("B")) == Result.EXECUTED
            await level(source, client)
