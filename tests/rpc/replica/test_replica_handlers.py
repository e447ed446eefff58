"""Handlers and tracers of a replica: told of every update, and no danger to it."""

from __future__ import annotations

import pytest

from amzmq.errors import BindError, StateUnknown
from amzmq.machine import Result, Tracer
from tests.rpc.rig import World, level, soon


async def test_final_handlers_run_for_each_update(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    called: list[str] = []

    class Handlers:
        def AState(self, e: object) -> None:
            called.append("AState")

        def AEnd(self, e: object) -> None:
            called.append("AEnd")

        def AnyState(self, e: object) -> None:
            called.append("AnyState")

    bound = net.bind(Handlers(), id="mine")
    assert net.handlers() == [bound] == ["mine"]
    await net.add("A")
    await net.remove("A")
    assert called == ["AState", "AnyState", "AEnd", "AnyState"]
    net.detach("mine")
    await net.add("A")
    assert len(called) == 4
    with pytest.raises(BindError):
        net.detach("mine")
    assert mux.source.is_("A")


async def test_a_handler_sees_the_replica_as_it_is_after_the_update(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    seen: list[object] = []

    def handler(e: object) -> None:
        tx = e.transition  # type: ignore[attr-defined]
        seen.append((e.name, e.machine is net, net.is_("A"), tx.activated))  # type: ignore[attr-defined]
        assert net.transition() is tx

    net.bind({"AState": handler})
    await net.add("A", "B")
    assert seen == [("AState", True, True, ["A", "B", "Auto"])]
    assert net.transition() is None


@pytest.mark.parametrize("name", ["AEnter", "AExit", "AB", "AnyEnter"])
async def test_negotiation_handlers_belong_to_the_source(world: World, name: str) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    with pytest.raises(BindError, match="a replica has no negotiation"):
        net.bind({name: lambda e: True})
    assert net.handlers() == []


async def test_a_failing_handler_is_logged_and_the_replica_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    client = await world.follow()
    failure = ValueError("no good")

    def fail(e: object) -> None:
        raise failure

    client.net_mach.bind({"AState": fail})
    await client.net_mach.add("A")
    await client.net_mach.add("B")
    await level(mux.source, client)
    assert client.net_mach.err() is failure
    assert "handler AState failed" in caplog.text


async def test_a_mutation_from_a_replica_s_handler(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    net.bind({"AState": lambda e: net.add("B")})
    await net.add("A")
    await soon(net.when("Auto"))
    assert mux.source.is_("Auto")


async def test_a_tracer_is_told_of_each_update(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    told: list[str] = []

    class Watch(Tracer):
        id = "watch"

        def transition_init(self, tx: object) -> None:
            told.append("init")

        def transition_end(self, tx: object) -> None:
            told.append(f"end {tx.activated} {tx.deactivated}")  # type: ignore[attr-defined]

        def handler_start(self, tx: object, binding: str, name: str) -> None:
            told.append(f"handler {name}")

        def machine_dispose(self, machine_id: str) -> None:
            told.append(f"dispose {machine_id}")

    net.bind({"AState": lambda e: None})
    net.bind_tracer(Watch())
    await net.add("A")
    assert told == ["init", "handler AState", "end ['A'] []"]
    net.detach_tracer("watch")
    await net.remove("A")
    assert len(told) == 3
    with pytest.raises(BindError, match="tracer not bound: id='watch'"):
        net.detach_tracer("watch")


async def test_a_failing_tracer_costs_the_replica_nothing(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()

    class Fail(Tracer):
        id = "fail"

        def transition_end(self, tx: object) -> None:
            raise ValueError("no good")

    client.net_mach.bind_tracer(Fail())
    done = client.net_mach.when("A")
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    await soon(done)
    await level(mux.source, client)
    assert client.net_mach.transition() is None


async def test_a_breakpoint_logs_the_updates_that_change_its_states(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    client = await world.follow()
    client.net_mach.add_breakpoint(["A"], ["B"])
    with pytest.raises(StateUnknown):
        client.net_mach.add_breakpoint(["Nope"])
    with caplog.at_level("INFO", "amzmq.client"):
        mux.source.add("B")
        await level(mux.source, client)
        assert "breakpoint" not in caplog.text
        mux.source.set("A")
        await level(mux.source, client)
    assert caplog.text.count("[breakpoint] +A -B") == 1
