"""What a client shows of itself, and what it does when nothing is said."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

import pytest

from amzmq.errors import CallTimeout, NotConnected
from amzmq.machine import Machine, Result, Tracer, Transition
from amzmq.net import MemoryNetwork
from amzmq.rpc import Client, Mux, client_id
from amzmq.wire.control import Hello, Mutate
from amzmq.wire.control_frames import from_frame
from tests.rpc.rig import ADDR, Losing, World, level, machine, soon, until

DEFAULTS = {
    "call_timeout": 3.0,
    "call_retries": 15,
    "call_retry_delay": 0.1,
    "call_retry_backoff": 3.0,
    "call_retry_timeout": 60.0,
    "conn_timeout": 3.0,
    "conn_retries": 15,
    "conn_retry_delay": 0.1,
    "conn_retry_backoff": 3.0,
    "conn_retry_timeout": 60.0,
    "hello_delay": 0.0,
    "disconn_cooldown": 0.01,
    "reconnect": True,
    "consumer": None,
    "parent": None,
    "schema": None,
    "machine": "",
    "no_schema": False,
    "allowed_states": None,
    "skipped_states": None,
    "sync_mutations": False,
    "sync_shallow_clocks": False,
    "mutation_filtering": False,
    "disconn_timeout": 3.0,
}


@pytest.mark.parametrize("option", DEFAULTS)
def test_what_is_not_said_is_as_the_reference_has_it(option: str) -> None:
    assert inspect.signature(Client).parameters[option].default == DEFAULTS[option]


def test_a_client_that_was_made_has_done_nothing_yet() -> None:
    client = Client(ADDR, name="reader", transport=MemoryNetwork().transport())
    assert client.mach.id == "rc-reader"
    assert "rpc-client" in client.mach.tags
    assert f"addr:{ADDR}" in client.mach.tags
    assert client.mach.not_("Start", "Connecting", "Connected")
    assert (client.call_count, client.last_msg_at) == (0, 0.0)
    with pytest.raises(NotConnected):
        assert client.net_mach
    client.mach.dispose()


def test_a_client_without_a_name_has_one_of_its_own() -> None:
    clients = [Client(ADDR, transport=MemoryNetwork().transport()) for _ in range(2)]
    assert clients[0].mach.id != clients[1].mach.id
    for client in clients:
        assert len(client.mach.id) > len("rc-")
        client.mach.dispose()


def test_the_machine_of_a_client_belongs_to_its_parent() -> None:
    parent = Machine({}, id="app")
    client = Client(ADDR, parent=parent, transport=MemoryNetwork().transport())
    assert client.mach.parent is parent
    parent.dispose()
    assert client.mach.is_disposed


async def test_a_client_is_known_by_the_id_made_of_its_name(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("reader")
    assert client.mach.id == client_id("reader") == "rc-reader"
    assert list(mux.clients) == [client_id("reader")]


async def test_starting_is_acknowledged_at_once_and_ready_tells_the_rest(world: World) -> None:
    await world.serve()
    client = world.client()
    assert client.start() is Result.EXECUTED
    assert client.mach.is_("Start", "Connecting")
    assert client.start() is Result.EXECUTED
    await soon(client.mach.when("Ready"))
    assert client.net_mach.state_names


async def test_each_call_is_counted_and_each_answer_is_dated(world: World) -> None:
    await world.serve()
    client = await world.follow()
    calls, heard = client.call_count, client.last_msg_at
    assert heard > 0
    await client.net_mach.add("A")
    await client.net_mach.remove("A")
    assert client.call_count == calls + 2
    assert client.last_msg_at >= heard


async def test_hello_is_said_after_its_delay(world: World) -> None:
    await world.serve()
    client = world.client(hello_delay=0.05)
    loop = asyncio.get_running_loop()
    moments: list[tuple[str, float]] = []

    class Watch(Tracer):
        id = "watch"

        def transition_end(self, tx: Transition) -> None:
            if client.mach.is_("Connected"):
                moments.append(("Connected", loop.time()))

    def hear(frame: bytes) -> tuple[float]:
        if isinstance(from_frame(frame), Hello):
            moments.append(("Hello", loop.time()))
        return (0.0,)

    client.mach.bind_tracer(Watch())
    world.network.control_fault = hear
    client.start()
    await soon(client.ready())
    first = dict(reversed(moments))
    assert first["Hello"] - first["Connected"] >= 0.05 * 0.99


async def test_a_call_is_tried_again_and_runs_once(world: World) -> None:
    source = machine()
    await world.serve(source)
    client = await world.follow(call_timeout=0.02, call_retry_delay=0.005)
    world.network.partition(True)
    call = client.net_mach.add("A")
    await until(lambda: client.call_count > 1)
    world.network.partition(False)
    assert await soon(call) == Result.EXECUTED
    await level(source, client)
    assert source.tick("A") == 1


async def test_a_call_is_given_up_after_its_retries(world: World) -> None:
    await world.serve()
    client = await world.follow(call_timeout=0.01, call_retries=2, call_retry_delay=0.001)
    lost = world.network.control_fault = Losing(Mutate, times=1000)
    sent = client.call_count
    with pytest.raises(CallTimeout):
        await soon(client.net_mach.add("A"))
    assert client.call_count - sent == len(lost.lost) == 3


async def test_a_call_that_was_given_up_is_told_by_a_state(world: World) -> None:
    await world.serve()
    client = await world.follow(call_timeout=0.01, call_retries=1, call_retry_delay=0.001)
    failed = client.mach.when_ticks("CallRetryFailed", 1)
    world.network.control_fault = Losing(Mutate, times=1000)
    with pytest.raises(CallTimeout):
        await soon(client.net_mach.add("A"))
    await soon(failed)
    await soon(client.mach.when_not("CallRetryFailed", "RetryingCall"))


async def test_a_delivery_may_be_announced_while_there_is_a_connection(world: World) -> None:
    await world.serve()
    client = world.client()
    assert client.mach.add("WorkerDelivering") is Result.CANCELED
    client.start()
    await soon(client.ready())
    for _ in range(2):
        assert client.mach.add("WorkerDelivering") is Result.EXECUTED
    assert client.mach.tick("WorkerDelivering") == 3


async def test_a_call_is_given_up_when_its_time_is_over(world: World) -> None:
    await world.serve()
    client = await world.follow(
        call_timeout=0.01, call_retries=100_000, call_retry_delay=0.001, call_retry_timeout=0.05
    )
    world.network.control_fault = Losing(Mutate, times=100_000)
    with pytest.raises(CallTimeout):
        await soon(client.net_mach.add("A"))


@pytest.mark.parametrize("component", ["client", "mux", "server"])
async def test_each_part_has_a_logger_of_the_standard_library(component: str) -> None:
    assert f"amzmq.{component}" in logging.root.manager.loggerDict


async def test_the_parts_are_told_apart_by_the_tags_of_their_machines(world: World) -> None:
    mux: Mux = await world.serve(machine())
    client = await world.follow()
    (server,) = mux.servers
    assert client.kind == "client"
    tags = [set(part.mach.tags) for part in (client, server, mux)]
    assert [kind & {"rpc-client", "rpc-server", "rpc-mux"} for kind in tags] == [
        {"rpc-client"},
        {"rpc-server"},
        {"rpc-mux"},
    ]


async def test_stopping_is_no_error(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    (server,) = mux.servers
    errors = [part.mach.tick("Exception") for part in (client, server, mux)]
    await client.stop()
    await until(lambda: not mux.clients)
    assert [part.mach.tick("Exception") for part in (client, server, mux)] == errors
    assert client.mach.err() is None


@pytest.mark.parametrize(
    ("options", "partial"),
    [({}, False), ({"allowed_states": ["A"]}, True), ({"skipped_states": ["A"]}, True)],
)
async def test_a_client_that_follows_some_states_only_says_so(
    world: World, options: dict[str, Any], partial: bool
) -> None:
    await world.serve()
    client = await world.follow(**options)
    assert client.is_partial is partial


async def test_a_health_check_is_over_at_once(world: World) -> None:
    await world.serve()
    client = await world.follow()
    assert client.mach.add("Healthcheck") is Result.EXECUTED
    assert client.mach.not_("Healthcheck")
    assert client.mach.tick("Healthcheck") == 2
    assert client.mach.is_("Connected", "Ready")
