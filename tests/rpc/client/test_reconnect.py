"""Connections that end, sources that come back: as the same, or as another."""

from __future__ import annotations

import gc
import weakref

import pytest

from amzmq.errors import ConnectFailed, NotConnected, OutcomeUnknown, SchemaMismatch
from amzmq.machine import Machine, Result, State
from amzmq.wire.control import Mutate, Reply
from amzmq.wire.journal import JournalLimits
from tests.rpc.rig import (
    SCHEMA,
    Losing,
    Payloads,
    World,
    clock_of,
    level,
    machine,
    soon,
    turns,
    until,
)


async def cut_and_heal(world: World, mux_changes: object = None) -> None:
    world.network.partition(True)
    await turns()
    world.network.partition(False)


async def test_a_partition_is_seen_and_healed(world: World) -> None:
    mux = await world.serve()
    clients = [await world.follow(f"c{n}") for n in range(3)]
    world.network.partition(True)
    await until(lambda: not any(client.mach.is_("Ready") for client in clients))
    mux.source.add("A", "B")
    await until(lambda: all(client.mach.is_("RetryingConn") for client in clients))
    assert all(client.net_mach.not_("A") for client in clients)
    world.network.partition(False)
    await level(mux.source, *clients)
    await until(lambda: all(client.mach.is_("Ready") for client in clients))
    assert all(client.mach.not_("RetryingConn", "Disconnected") for client in clients)


async def test_the_same_source_resumes_from_the_journal(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    taken = Payloads(client)
    world.network.partition(True)
    await turns()
    mux.source.add("A")
    mux.send_payload("missed", 1)
    mux.source.add("B")
    world.network.partition(False)
    await level(mux.source, client)
    metrics = client.metrics()
    assert metrics["snapshots"] == 1
    assert metrics["connects"] == 2
    assert metrics["payloads_lost"] == 0
    assert (metrics["gaps"], metrics["resyncs"]) == (1, 1)
    assert taken.data == [1]


async def test_nothing_missed_is_no_gap_and_no_resync(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    mux.source.add("A")
    await level(mux.source, client)
    await cut_and_heal(world)
    await until(lambda: client.metrics()["connects"] == 2)
    metrics = client.metrics()
    assert (metrics["gaps"], metrics["resyncs"], metrics["snapshots"]) == (0, 0, 1)


async def test_a_journal_that_is_too_short_makes_a_snapshot_and_counts_what_is_lost(
    world: World,
) -> None:
    mux = await world.serve(journal=JournalLimits(messages=4))
    client = await world.follow()
    taken = Payloads(client)
    mux.send_payload("n", 0)
    await until(lambda: taken.all)
    world.network.partition(True)
    await turns()
    for n in range(1, 11):
        mux.source.toggle("A")
        mux.send_payload("n", n)
    world.network.partition(False)
    await level(mux.source, client)
    mux.send_payload("n", 11)
    await until(lambda: taken.data == [0, 11])
    metrics = client.metrics()
    assert metrics["snapshots"] == 2
    assert metrics["payloads_lost"] == 10
    assert metrics["gaps"] == 1
    assert metrics["resyncs"] == 1


async def test_a_restarted_source_begins_a_new_epoch(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    net = client.net_mach
    for _ in range(5):
        await net.toggle("A")
    epoch = client.epoch
    ticks_before = net.tick("A")
    await mux.stop()
    fresh = machine()
    fresh.add("B")
    await world.serve(fresh)
    await level(fresh, client)
    await soon(client.mach.when("Ready"))
    assert client.net_mach is net
    assert client.epoch != epoch
    assert net.tick("A") == 0 < ticks_before
    assert net.active_states() == ["B"]
    assert await soon(net.add("A")) == Result.EXECUTED
    assert net.is_("A", "B", "Auto")
    assert client.metrics()["snapshots"] == 2


async def test_a_machine_served_again_keeps_its_ticks(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    await client.net_mach.add("A")
    await mux.stop()
    mux.source.add("B")
    await world.serve(mux.source)
    await level(mux.source, client)
    assert client.net_mach.is_("A", "B", "Auto")


async def test_waits_and_handlers_of_a_replica_live_through_a_restart(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    entered: list[str] = []
    client.net_mach.bind({"BState": lambda e: entered.append(e.name)})
    waiting = client.net_mach.when("B")
    left = client.net_mach.when_not("A")
    await client.net_mach.add("A")
    left = client.net_mach.when_not("A")
    await mux.stop()
    fresh = machine()
    fresh.add("B")
    await world.serve(fresh)
    await soon(waiting)
    await soon(left)
    assert entered == ["BState"]


async def test_a_call_in_flight_over_a_restart_has_an_unknown_outcome(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    world.network.control_fault = Losing(Reply, times=1000)
    call = client.net_mach.add("Multi")
    await until(lambda: mux.source.is_("Multi"))
    await mux.stop()
    world.network.control_fault = None
    fresh = machine()
    again = await world.serve(fresh)
    with pytest.raises(OutcomeUnknown, match="look at the states before trying again"):
        await soon(call)
    assert fresh.tick("Multi") == 0
    assert again.counters.requests == 0
    assert await soon(client.net_mach.add("Multi")) == Result.EXECUTED


async def test_a_call_in_flight_over_a_reconnect_runs_once(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    world.network.control_fault = Losing(Reply)
    call = client.net_mach.add("Multi")
    await until(lambda: mux.source.is_("Multi"))
    await cut_and_heal(world)
    assert await soon(call) == Result.EXECUTED
    assert mux.source.tick("Multi") == 1
    assert clock_of(client.net_mach) == clock_of(mux.source)


async def test_a_request_lost_with_its_connection_is_sent_over_the_next(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    world.network.control_fault = Losing(Mutate)
    call = client.net_mach.add("Multi")
    await cut_and_heal(world)
    assert await soon(call) == Result.EXECUTED
    assert mux.source.tick("Multi") == 1


async def test_even_a_client_that_was_given_up_meanwhile_runs_its_call_once(world: World) -> None:
    mux = await world.serve(heartbeat=0.02)
    client = await world.follow()
    world.network.control_fault = Losing(Reply)
    call = client.net_mach.add("Multi")
    await until(lambda: mux.source.is_("Multi"))
    world.network.partition(True)
    await until(lambda: not mux.clients)
    world.network.partition(False)
    assert await soon(call) == Result.EXECUTED
    assert mux.source.tick("Multi") == 1


async def test_a_source_restarted_with_a_grown_schema_keeps_the_replica_and_its_waits(
    world: World,
) -> None:
    mux = await world.serve()
    client = await world.follow()
    net = client.net_mach
    waiting = net.when("Multi")
    await mux.stop()
    grown = machine("other", {"New": State(auto=True), **SCHEMA})
    grown.add("A")
    await world.serve(grown)
    await level(grown, client)
    assert client.net_mach is net
    assert net.is_("New")
    assert net.remote_id == "other"
    assert not waiting.done()
    assert await soon(net.add("Multi")) == Result.EXECUTED
    await soon(waiting)


async def test_a_source_restarted_with_fewer_states_is_refused_with_a_reason(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    await mux.stop()
    await world.serve(Machine({"New": State(auto=True)}, id="other"))
    await soon(client.mach.when("ConnRetryFailed"))
    assert client.net_mach.has("A")
    with pytest.raises(SchemaMismatch, match="has no A B"):
        await soon(client.ready())


@pytest.mark.parametrize("retries", [0, 2])
async def test_nobody_listening_is_said_with_the_address_and_the_attempts(
    world: World, retries: int
) -> None:
    client = world.client(
        addr="mem://nobody", conn_timeout=0.02, conn_retries=retries, conn_retry_delay=0.005
    )
    client.start()
    with pytest.raises(ConnectFailed) as caught:
        await soon(client.ready())
    assert "mem://nobody" in str(caught.value)
    assert f"after {retries + 1} attempts" in str(caught.value)
    assert client.mach.is_("ConnRetryFailed")
    assert client.mach.not_("Start", "RetryingConn", "Connecting")


async def test_the_time_for_retries_ends_them_too(world: World) -> None:
    client = world.client(
        conn_timeout=0.01, conn_retries=10_000, conn_retry_delay=0.001, conn_retry_timeout=0.05
    )
    client.start()
    with pytest.raises(ConnectFailed, match="gave up after"):
        await soon(client.ready())


async def test_a_client_may_start_before_its_source(world: World) -> None:
    client = world.client()
    client.start()
    await until(lambda: client.mach.is_("Connecting"))
    mux = await world.serve()
    await soon(client.ready())
    await level(mux.source, client)


async def test_a_client_that_gave_up_can_start_again(world: World) -> None:
    client = world.client(conn_timeout=0.01, conn_retries=0)
    client.start()
    with pytest.raises(ConnectFailed):
        await soon(client.ready())
    mux = await world.serve()
    client.start()
    await soon(client.ready())
    await level(mux.source, client)


async def test_without_reconnect_the_first_loss_is_the_last(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(reconnect=False)
    world.network.control_fault = Losing(Reply)
    call = client.net_mach.add("Multi")
    await until(lambda: mux.source.is_("Multi"))
    world.network.partition(True)
    await soon(client.mach.when("ConnRetryFailed"))
    with pytest.raises((ConnectFailed, NotConnected)):
        await soon(call)
    world.network.partition(False)
    await turns(50)
    assert client.mach.not_("Ready", "RetryingConn")


async def test_a_client_keeps_nothing_of_the_sources_before(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    followers = []
    for _ in range(3):
        followers.append(weakref.ref(client.follower))
        await mux.stop()
        mux = await world.serve(machine())
        mux.source.add("A")
        await level(mux.source, client)
        await until(lambda: client.mach.is_("Ready"))
    gc.collect()
    assert [follower() for follower in followers] == [None] * 3
