"""Mutations through a replica: whoever awaits one reads its effect."""

from __future__ import annotations

import asyncio
import threading

import pytest

from amzmq.errors import InvalidArgs, NotConnected, RemoteError, StateUnknown
from amzmq.machine import Event, Machine, Result
from amzmq.wire.control import Mutate, Reply
from amzmq.wire.feed import Update
from tests.rpc.rig import (
    PATIENCE_S,
    SCHEMA,
    Losing,
    World,
    clock_of,
    level,
    machine,
    soon,
    turns,
    until,
)


async def test_the_effect_of_a_mutation_is_there_when_its_result_is(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    assert await net.add("A") == Result.EXECUTED
    assert net.is_("A")
    assert await net.add("B") == Result.EXECUTED
    assert net.is_("A", "B", "Auto")
    assert clock_of(net) == clock_of(mux.source)
    assert await net.remove("A") == Result.EXECUTED
    assert net.not_("A", "Auto")
    assert await net.set("Multi") == Result.EXECUTED
    assert net.active_states() == ["Multi"]
    assert clock_of(net) == clock_of(mux.source)


async def test_a_toggle_adds_what_is_inactive_and_removes_what_is_active(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    await net.toggle("A")
    assert net.is_("A")
    await net.toggle("A")
    assert net.not_("A")
    await net.add("A")
    await net.toggle("A", "B")
    assert net.is_("A", "B")
    assert clock_of(net) == clock_of(mux.source)


async def test_a_canceled_mutation_says_so_and_its_queue_tick_arrives(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    assert await net.add("Never") == Result.CANCELED
    assert net.queue_tick == mux.source.queue_tick == 2
    assert net.not_("Never")


async def test_many_calls_at_once_run_in_the_order_they_were_made(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    called: list[int] = []
    mux.source.bind({"MultiState": lambda e: called.append(e.args["n"])})
    calls = [client.net_mach.add("Multi", n=n) for n in range(200)]
    assert await soon(asyncio.gather(*calls)) == [Result.EXECUTED] * 200
    assert called == list(range(200))
    assert clock_of(client.net_mach) == clock_of(mux.source)


async def test_arguments_arrive_at_the_handlers_of_the_source(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    seen: list[dict[str, object]] = []
    mux.source.bind({"AState": lambda e: seen.append(dict(e.args))})
    await net.add("A", args={"user": 42}, more=[1, {"k": b"x"}])
    assert seen == [{"user": 42, "more": [1, {"k": b"x"}]}]


async def test_an_error_added_through_a_replica_arrives_as_text(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    error = ValueError("disk full")
    await net.add_err(error)
    assert net.is_("Exception", "ErrOnClient")
    assert net.err() is error
    arrived = mux.source.err()
    assert isinstance(arrived, RemoteError)
    assert (arrived.type_name, arrived.message) == ("ValueError", "disk full")


async def test_an_error_state_added_through_a_replica_is_active_with_exception(
    world: World,
) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    await net.add_err_state("ErrDisk", OSError("no space"))
    assert net.is_("ErrDisk", "Exception")
    assert str(mux.source.err()) == "OSError: no space"


async def test_fire_and_forget_then_sync(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    assert client.net_mach.add_ns("Multi", n=1) == Result.EXECUTED
    assert client.net_mach.add_ns("A") == Result.EXECUTED
    assert client.net_mach.not_("A")
    time = await soon(client.sync())
    assert client.net_mach.is_("A", "Multi")
    assert tuple(time) == tuple(mux.source.time())
    assert client.mach.tick("MetricSync") > 0


async def test_two_syncs_at_once_are_both_answered(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    client.net_mach.add_ns("A")
    times = await soon(asyncio.gather(client.sync(), client.sync()))
    assert [tuple(time) for time in times] == [tuple(mux.source.time())] * 2


async def test_a_mutation_from_inside_a_handler_is_queued_and_can_be_waited_for(
    world: World,
) -> None:
    # The caller's mutation comes while the source drains its queue: its result is a queue tick.
    mux = await world.serve()
    net = (await world.follow()).net_mach
    results: list[Result] = []
    mux.source.bind({"AState": lambda e: results.append(e.machine.add("B"))})
    assert await net.add("A") == Result.EXECUTED
    assert results[0].is_queued
    await soon(net.when_queue(results[0]))
    assert net.is_("A", "B", "Auto")


async def test_a_queued_result_of_a_busy_source_reaches_the_caller(world: World) -> None:
    mux = await world.serve(Machine(SCHEMA, id="src", handler_timeout=PATIENCE_S))
    net = (await world.follow()).net_mach
    inside, go_on = threading.Event(), threading.Event()

    def busy(e: Event) -> None:
        inside.set()
        go_on.wait(PATIENCE_S)

    mux.source.bind({"AState": busy})
    draining = asyncio.create_task(asyncio.to_thread(mux.source.add, "A"))
    await until(inside.is_set)
    result = await soon(net.add("B"))
    assert result.is_queued
    assert not net.is_("B")
    processed = net.when_queue(result)
    go_on.set()
    await soon(processed)
    assert net.is_("A", "B")
    await soon(draining)


@pytest.mark.parametrize("call", ["add", "remove", "set", "toggle", "add_ns", "when", "not_"])
async def test_an_unknown_state_is_refused_before_anything_is_sent(world: World, call: str) -> None:
    mux = await world.serve()
    client = await world.follow()
    sent = client.call_count
    with pytest.raises(StateUnknown, match="missing states: Nope Nada"):
        getattr(client.net_mach, call)("A", "Nope", "Nada")
    assert client.call_count == sent
    assert mux.counters.requests == 0


@pytest.mark.parametrize("value", [{1, 1j}, 2**64, 1j, {(1,): 2}, object], ids=repr)
async def test_an_argument_that_cannot_travel_is_refused_by_name(
    world: World, value: object
) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    with pytest.raises(InvalidArgs) as caught:
        net.add("A", what=value)
    assert repr(value) in str(caught.value)
    with pytest.raises(InvalidArgs):
        net.add_ns("A", what=value)
    assert await net.add("A") == Result.EXECUTED
    assert mux.counters.requests == 1


async def test_a_refused_argument_leaves_no_call_behind(world: World) -> None:
    await world.serve()
    client = await world.follow()
    with pytest.raises(InvalidArgs):
        client.net_mach.add("A", what=1j)
    assert len(client.calls) == 0
    # Else it would be sent again, and fail again, within the next handshake.
    world.network.partition(True)
    world.network.partition(False)
    await until(lambda: client.metrics()["connects"] == 2)
    await soon(client.mach.when("Ready"))


async def test_arguments_that_are_no_mapping_are_refused_by_name(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    with pytest.raises(InvalidArgs, match=r"args=\[1\]"):
        net.add("A", args=[1])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgs, match="err='text'"):
        net.add_err("text")  # type: ignore[arg-type]


async def test_a_retry_is_answered_from_memory_and_runs_once(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(call_timeout=0.05, call_retry_delay=0.01)
    world.network.control_fault = lost = Losing(Reply, times=3)
    assert await soon(client.net_mach.add("Multi")) == Result.EXECUTED
    assert len(lost.lost) == 3
    assert client.metrics()["calls_retried"] >= 3
    assert mux.source.tick("Multi") == 1
    assert clock_of(client.net_mach) == clock_of(mux.source)


async def test_a_request_lost_on_the_way_is_sent_again(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(call_timeout=0.05, call_retry_delay=0.01)
    world.network.control_fault = Losing(Mutate)
    assert await soon(client.net_mach.add("Multi")) == Result.EXECUTED
    assert mux.source.tick("Multi") == 1


async def test_a_call_that_is_cancelled_leaves_nothing_behind(world: World) -> None:
    await world.serve()
    client = await world.follow(call_timeout=0.02)
    world.network.control_fault = Losing(Mutate)
    call = client.net_mach.add("A")
    assert len(client.calls) == 1
    call.cancel()
    await until(lambda: len(client.calls) == 0)
    assert await soon(client.net_mach.add("B")) == Result.EXECUTED


async def test_calls_in_flight_end_when_the_client_stops(world: World) -> None:
    await world.serve()
    client = await world.follow()
    world.network.control_fault = Losing(Reply, times=1000)
    calls = [client.net_mach.add("Multi") for _ in range(3)]
    await client.stop()
    for call in calls:
        with pytest.raises(NotConnected, match="the client was stopped; the call may have run"):
            await call


async def test_effects_are_read_even_while_the_replica_waits_for_a_snapshot(
    world: World,
) -> None:
    mux = await world.serve()
    client = await world.follow()
    # An update with a wrong checksum: from now on the replica needs a snapshot.
    client.follower.on_bodies([Update(client.follower.number + 1, 0, [0, 1], 1).body()])
    assert client.metrics()["mismatches"] == 1
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    assert client.net_mach.is_("A")
    await level(mux.source, client)


async def test_a_replica_takes_the_event_that_caused_a_mutation(world: World) -> None:
    # `m.add("Start", args={...}, event=e)` is said of machines and replicas alike.
    mux = await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local")
    seen: list[Event] = []
    local.bind({"AState": seen.append})
    local.add("A")
    assert await net.add("A", args={"user": 1}, event=seen[0]) == Result.EXECUTED
    assert mux.source.is_("A")


async def test_with_many_calls_in_flight_no_reply_repeats_what_another_has_carried(
    world: World,
) -> None:
    mux = await world.serve()
    client = await world.follow()
    calls = [client.net_mach.add("Multi") for _ in range(60)]
    for call in calls:
        assert await soon(call) == Result.EXECUTED
    assert client.net_mach.tick("Multi") == mux.source.tick("Multi")
    await turns()
    metrics = client.metrics()
    # Each message comes twice at most: with a reply, and on the feed.
    assert metrics["duplicates"] <= metrics["updates"]
    assert metrics["gaps"] == metrics["resyncs"] == 0


async def test_a_lost_reply_leaves_no_later_call_unread(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(call_timeout=0.2, call_retry_delay=0.01)
    world.network.control_fault = Losing(Reply)
    world.network.feed_fault = lambda frame: ()
    first, second = client.net_mach.add("A"), client.net_mach.add("B")
    assert await soon(second) == Result.EXECUTED
    assert client.net_mach.is_("A", "B", "Auto")
    assert await soon(first) == Result.EXECUTED
    assert mux.source.tick("A") == 1
    world.network.feed_fault = None
