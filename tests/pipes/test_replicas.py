"""Pipes with a replica at either end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from amzmq import pipes
from amzmq.errors import InvalidArgs, NotConnected, RemoteError, StateUnknown
from amzmq.machine import Event, Machine, State
from amzmq.rpc import Client
from tests.rpc.rig import ADDR, World, level, soon, until

from .rig import Told, hooks, machine


async def offline(client: Client) -> None:
    """The client loses its source, and its replica stays."""
    client.mach.add("Disconnecting")
    await soon(client.mach.when("Disconnected"))


# From a replica to a machine.


async def test_a_machine_follows_a_replica(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local")
    pipe = pipes.bind(net, local, "A", "B")
    assert net.handlers() == [pipe.id] == ["Bind-A-local"]
    mux.source.add("A")
    await soon(local.when("B"))
    mux.source.remove("A")
    await soon(local.when_not("B"))


async def test_a_machine_mirrors_a_replica(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    mirror = Machine(mux.source.schema, id="mirror", states=mux.source.state_names)
    pipes.bind_any(net, mirror)
    mux.source.add("A", "B")
    await soon(mirror.when("A", "B", "Auto"))
    mux.source.add("Multi")
    await soon(mirror.when("Multi"))
    assert set(mirror.active_states()) == set(mux.source.active_states())


async def test_the_source_of_a_change_is_the_machine_behind_the_replica(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local")
    told = Told(local)
    pipes.bind(net, local, "A")
    mux.source.add("A")
    await soon(local.when("A"))
    assert [source.machine_id for source in told.sources] == ["src"]


async def test_an_error_seen_through_a_replica_arrives(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local")
    pipes.bind_err(net, local, "ErrDisk")
    mux.source.add_err(ValueError("x"))
    await soon(local.when("ErrDisk", "Exception"))


async def test_states_are_made_equal_after_a_replica_was_away(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local", "A", "B", "Multi")
    local.add("B")
    mux.source.add("A", "Multi")
    await until(lambda: net.is_("A", "Multi"))
    assert pipes.sync(net, local, ["A", "B", "Multi"]) == 3
    assert set(local.active_states()) == {"A", "Multi"}


# From a machine to a replica.


async def test_a_replica_carries_to_its_source(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    seen: list[dict[str, object]] = []
    mux.source.bind({"BState": lambda e: seen.append(dict(e.args))})
    local = machine("local")
    told = Told(mux.source)
    pipes.bind(local, client.net_mach, "A", "B")
    local.add("A", user=42)
    await soon(client.net_mach.when("B"))
    assert seen == [{"user": 42}]
    assert told.sources[0].machine_id == "local"
    local.remove("A")
    await soon(client.net_mach.when_not("B"))
    await level(mux.source, client)


async def test_changes_arrive_at_the_source_in_order(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    called: list[object] = []
    mux.source.bind({"MultiState": lambda e: called.append(e.args["n"])})
    local = machine("local")
    pipes.bind(local, client.net_mach, "M", "Multi")
    for n in range(0, 100, 2):
        local.add("M", n=n)
        await asyncio.to_thread(local.add, "M", args={"n": n + 1})
    await soon(mux.source.when_time({"Multi": 199}))
    assert called == list(range(100))


async def test_errors_go_to_the_source_with_their_text(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local")
    pipes.bind_err(local, net, "ErrDisk")
    local.add_err(OSError("disk full"), args={"path": "here"})
    await soon(net.when("ErrDisk", "Exception"))
    error = mux.source.err()
    assert isinstance(error, RemoteError)
    assert error.message == "disk full"
    assert local.tick("Exception") == 1


async def test_a_state_that_left_because_of_an_error_is_removed_over_there(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    schema = {"A": State(), "Exception": State(multi=True, remove="A")}
    local = Machine(schema, id="local")
    pipes.bind(local, net, "A")
    local.add("A")
    await soon(net.when("A"))
    # The arguments of this removal hold the error itself, which cannot travel.
    local.add_err(OSError("disk full"), args={"path": "here"})
    await soon(net.when_not("A"))
    assert not mux.source.is_err()


async def test_flat_pipes_and_mirrors_reach_a_replica_in_order(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local", "A", "B")
    told = Told(mux.source)
    pipes.bind_any(local, net)
    local.bind({"BState": pipes.add_flat(local, net, "B", "Multi")})
    local.add("A")
    local.add("B", n=1)
    await soon(net.when("A", "B"))
    called = [text for text in told.all if text != "add Auto"]
    assert called == ["set A", "add Multi", "set B A"]
    assert told.args[told.all.index("add Multi")] == {}


async def test_a_wrong_name_is_an_error_at_the_call(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local")
    with pytest.raises(StateUnknown, match="Start"):
        pipes.bind_start(local, net)
    with pytest.raises(StateUnknown, match="Start"):
        pipes.bind_start(net, local)


# What cannot be carried.


async def test_a_replica_without_a_connection_is_an_error_of_the_source(world: World) -> None:
    await world.serve()
    client = await world.follow(reconnect=False)
    local = machine("local")
    pipes.bind(local, client.net_mach, "A")
    await offline(client)
    local.add("A")
    await soon(local.when_err())
    error = local.err()
    assert isinstance(error, NotConnected)
    assert error.__notes__ == [f"pipe from local to {client.net_mach.id}: add A"]
    assert local.is_("A")


async def test_an_argument_that_cannot_travel_is_an_error_of_the_source(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local")
    pipes.bind(local, net, "A")
    local.add("A", file=object())
    await soon(local.when_err())
    assert isinstance(local.err(), InvalidArgs)


async def test_errors_piped_to_a_replica_that_is_away_do_not_go_in_circles(world: World) -> None:
    await world.serve()
    clients = [await world.follow(name, reconnect=False) for name in ("one", "two")]
    local, other = machine("local"), machine("other")
    for client in clients:
        pipes.bind_err(local, client.net_mach)
    pipes.bind_err(local, other)
    for client in clients:
        await offline(client)
    local.add_err(ValueError("the first one"))
    # Each of both fails on it, and once more on the failure of the other.
    await soon(local.when_time({"Exception": 9}))
    for _ in range(20):
        await asyncio.sleep(0)
    assert local.tick("Exception") == other.tick("Exception") == 9


async def test_a_failure_between_two_replicas_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    first = await world.follow("first")
    second = await world.follow("second", reconnect=False)
    pipes.bind(first.net_mach, second.net_mach, "A")
    await offline(second)
    with caplog.at_level(logging.ERROR, "amzmq.pipes"):
        mux.source.add("A")
        await until(lambda: caplog.records)
    assert "pipe from rnm-first to rnm-second: add A failed" in caplog.text
    assert not mux.source.is_err()


async def test_a_failure_behind_a_replica_is_an_error_of_the_machine_here(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local", panic_to_exception=False)

    def fail(e: Event) -> None:
        raise ValueError("boom")

    local.bind({"AState": fail})
    pipes.bind(net, local, "A")
    mux.source.add("A")
    await soon(local.when_err())
    assert str(local.err()) == "boom"
    assert not mux.source.is_err()


async def test_an_error_that_nobody_can_be_told_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.serve()
    client = await world.follow(reconnect=False)
    local = machine("local")
    pipes.bind(local, client.net_mach, "A")
    await offline(client)
    local.add("A")
    local.dispose()
    with caplog.at_level(logging.ERROR, "amzmq.pipes"):
        await until(lambda: caplog.records)
    assert "pipe from local" in caplog.text


# Both, and the end.


async def test_a_replica_is_piped_to_another(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    other = Machine({"A": State(), "B": State()}, id="other")
    await world.serve(other, bind="mem://other")
    there = (await world.follow(addr="mem://other")).net_mach
    assert ADDR != "mem://other"
    pipes.bind(net, there, "A", "B")
    mux.source.add("A")
    await soon(other.when("B"))
    mux.source.remove("A")
    await soon(other.when_not("B"))


async def test_a_client_that_stops_takes_the_pipes_of_its_replica_along(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    net = client.net_mach
    local = machine("local")
    there, here = pipes.bind(local, net, "A"), pipes.bind(net, local, "B")
    await client.stop()
    assert not there.is_bound
    assert not here.is_bound
    assert local.handlers() == net.handlers() == []
    assert pipes.pipes_of(local) == pipes.pipes_of(net) == []
    assert hooks([local, net]) == 0
    local.add("A")
    await asyncio.sleep(0)
    assert not local.is_err()
    assert mux.source.not_("A")


async def test_an_unbound_pipe_leaves_nothing_on_a_replica(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    local = machine("local")
    before = hooks([net])
    both = [pipes.bind(local, net, "A"), pipes.bind(net, local, "A")]
    for pipe in both:
        pipe.unbind()
    assert net.handlers() == local.handlers() == []
    assert hooks([net]) == before


async def test_a_pipe_goes_on_after_the_connection_came_back(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    local = machine("local")
    pipes.bind(local, client.net_mach, "A")
    world.network.partition(True)
    await soon(client.mach.when_not("Ready"))
    local.add("A")
    await soon(local.when_err())
    world.network.partition(False)
    await soon(client.mach.when("Ready"))
    assert pipes.sync(local, client.net_mach, ["A"]) == 1
    await soon(mux.source.when("A"))
    local.remove("A")
    await soon(mux.source.when_not("A"))
