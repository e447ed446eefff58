"""Mutations made while there is no source, and those that are tried again (spec rpc 6)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from amzmq.errors import (
    CallTimeout,
    ConnectFailed,
    InvalidArgs,
    LimitExceeded,
    NotConnected,
    StateUnknown,
)
from amzmq.machine import Result
from amzmq.rpc import Client, Mux
from amzmq.wire.control import Mutate, Reply
from tests.rpc.rig import QUICK, Losing, World, level, machine, soon, turns, until

HASTY: dict[str, Any] = {"call_timeout": 0.05, "call_retry_delay": 0.01}


async def away(world: World, **options: Any) -> Client:
    """A client that has lost its source."""
    client = await world.follow(**options)
    world.network.partition(True)
    await until(lambda: client.mach.not_("Ready"))
    return client


async def test_what_is_called_while_away_runs_in_order_when_the_source_is_back(
    world: World,
) -> None:
    mux = await world.serve()
    ran: list[object] = []
    mux.source.bind({"MultiState": lambda e: ran.append(e.args["n"])})
    client = await away(world, offline_queue=100)
    net = client.net_mach
    calls = [net.add("Multi", n=n) for n in range(20)]
    calls += [net.add("A"), net.remove("A"), net.set("B"), net.add_err(OSError("x"))]
    await turns()
    assert client.metrics()["calls_offline"] == 24
    assert client.call_count == 0
    assert ran == []
    world.network.partition(False)
    assert await soon(asyncio.gather(*calls)) == [Result.EXECUTED] * 24
    assert ran == list(range(20))
    assert mux.source.is_("B", "Exception")
    await level(mux.source, client)
    assert client.metrics()["calls_offline"] == 0


async def test_calls_made_at_the_reconnect_come_behind_those_that_were_kept(world: World) -> None:
    mux = await world.serve()
    ran: list[object] = []
    mux.source.bind({"MultiState": lambda e: ran.append(e.args["n"])})
    client = await away(world, offline_queue=10)
    calls = [client.net_mach.add("Multi", n=n) for n in range(5)]
    client.mach.bind({"ReadyState": lambda e: calls.append(client.net_mach.add("Multi", n=5))})
    world.network.partition(False)
    await soon(client.mach.when("Ready"))
    await soon(asyncio.gather(*calls))
    assert ran == list(range(6))


async def test_without_a_queue_nothing_is_kept(world: World) -> None:
    mux = await world.serve()
    client = await away(world)
    with pytest.raises(NotConnected, match="nothing was sent"):
        await client.net_mach.add("A")
    world.network.partition(False)
    await level(mux.source, client)
    assert mux.source.not_("A")


async def test_a_queue_that_is_full_says_so_and_keeps_what_it_has(world: World) -> None:
    mux = await world.serve()
    client = await away(world, offline_queue=2)
    kept = [client.net_mach.add(state) for state in ("A", "B")]
    with pytest.raises(LimitExceeded, match="offline_queue=2 mutations wait"):
        await client.net_mach.add("Multi")
    world.network.partition(False)
    await soon(asyncio.gather(*kept))
    assert mux.source.is_("A", "B")
    assert mux.source.not_("Multi")


async def test_what_was_given_up_while_away_is_not_sent(world: World) -> None:
    mux = await world.serve()
    client = await away(world, offline_queue=10)
    given_up, kept = client.net_mach.add("A"), client.net_mach.add("B")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await given_up
    world.network.partition(False)
    await soon(kept)
    assert mux.source.active_states() == ["B"]


async def test_what_cannot_be_sent_is_said_at_once_though_there_is_nobody(world: World) -> None:
    await world.serve()
    client = await away(world, offline_queue=10)
    with pytest.raises(StateUnknown):
        client.net_mach.add("Wrong")
    with pytest.raises(InvalidArgs, match="cannot travel"):
        client.net_mach.add("A", x=object())
    assert client.metrics()["calls_offline"] == 0


async def test_a_mutation_without_a_reply_is_not_kept(world: World) -> None:
    mux = await world.serve()
    client = await away(world, offline_queue=10)
    assert client.net_mach.add_ns("A") == Result.CANCELED
    world.network.partition(False)
    await level(mux.source, client)
    assert mux.source.not_("A")


async def test_what_was_kept_runs_at_the_source_that_comes_next(world: World) -> None:
    first = await world.serve()
    client = await world.follow(offline_queue=10)
    await first.stop()
    await until(lambda: client.mach.not_("Ready"))
    call = client.net_mach.add("A")
    again = await world.serve(machine())
    assert await soon(call) == Result.EXECUTED
    assert again.source.is_("A")
    assert first.source.not_("A")


async def test_what_was_kept_was_never_sent_if_the_client_stops(world: World) -> None:
    mux = await world.serve()
    client = await away(world, offline_queue=10)
    call = client.net_mach.add("A")
    await client.stop()
    with pytest.raises(NotConnected, match="never sent"):
        await call
    assert mux.source.not_("A")


async def test_what_was_kept_was_never_sent_if_the_source_does_not_come_back(
    world: World,
) -> None:
    mux = await world.serve()
    client = await world.follow(offline_queue=10, conn_retries=2, conn_timeout=0.02)
    gone = client.mach.when_not("Ready")
    stopping = asyncio.create_task(mux.stop())
    await soon(gone)
    call = client.net_mach.add("A")
    await stopping
    with pytest.raises(NotConnected, match="never sent"):
        await soon(call)
    with pytest.raises(ConnectFailed):
        await soon(client.ready())
    with pytest.raises(NotConnected, match="nothing was sent"):
        await client.net_mach.add("A")


async def test_a_kept_call_keeps_its_states_when_the_schema_is_another_one(world: World) -> None:
    first = await world.serve()
    client = await world.follow(offline_queue=10)
    await first.stop()
    await until(lambda: client.mach.not_("Ready"))
    call = client.net_mach.add("B")
    again = machine()
    again.set_schema({"New": again.schema["Multi"], **dict(reversed(again.schema.items()))})
    await world.serve(again)
    await soon(call)
    assert again.active_states() == ["B"]


async def test_a_call_that_is_tried_again_is_seen_by_a_state_until_it_is_answered(
    world: World,
) -> None:
    await world.serve()
    client = await world.follow(**HASTY)
    losing = world.network.control_fault = Losing(Mutate, 2)
    retrying = client.mach.when("RetryingCall")
    call = client.net_mach.add("A")
    await soon(retrying)
    assert await soon(call) == Result.EXECUTED
    await soon(client.mach.when_not("RetryingCall"))
    assert len(losing.lost) == 2
    assert client.mach.tick("RetryingCall") == 2
    assert client.mach.tick("CallRetryFailed") == 0
    assert client.mach.is_("Ready")


async def test_many_calls_that_are_tried_again_are_one_state(world: World) -> None:
    await world.serve()
    client = await world.follow(**HASTY)
    world.network.control_fault = Losing(Mutate, 5)
    calls = [client.net_mach.add("Multi") for _ in range(5)]
    await soon(asyncio.gather(*calls))
    await soon(client.mach.when_not("RetryingCall"))
    assert client.mach.tick("RetryingCall") == 2
    assert client.metrics()["calls_retried"] == 5


async def test_a_call_that_is_given_up_is_an_error_and_a_tick(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(**HASTY | {"call_retries": 1})
    errors: list[object] = []
    client.mach.bind({"CallRetryFailedState": lambda e: errors.append(e.error)})
    world.network.control_fault = Losing(Reply, 1000)
    with pytest.raises(CallTimeout, match="it may have run") as caught:
        await soon(client.net_mach.add("A"))
    assert errors == [caught.value]
    assert client.mach.tick("CallRetryFailed") == 2
    assert client.mach.not_("CallRetryFailed", "RetryingCall", "Exception")
    # It is the call that was given up, not the connection; and this one had run.
    world.network.control_fault = None
    await level(mux.source, client)
    assert mux.source.is_("A")
    assert await soon(client.net_mach.add("B")) == Result.EXECUTED


async def test_calls_are_kept_over_real_sockets() -> None:
    source = machine()
    first = Mux(source)
    await first.start()
    async with (
        Mux(source) as second,
        Client([first.addr, second.addr], offline_queue=10, **QUICK) as client,
    ):
        gone = client.mach.when_not("Ready")
        stopping = asyncio.create_task(first.stop())
        await soon(gone)
        calls = [client.net_mach.add(state) for state in ("A", "B")]
        assert client.metrics()["calls_offline"] == 2
        assert await soon(asyncio.gather(*calls)) == [Result.EXECUTED] * 2
        assert source.is_("A", "B", "Auto")
        await stopping
