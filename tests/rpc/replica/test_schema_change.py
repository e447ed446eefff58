"""A source whose schema grows while it is followed: nothing stops, nothing is mixed up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from amzmq.errors import SchemaMismatch, StateUnknown
from amzmq.machine import Machine, Result, State
from amzmq.rpc import Client, Mux
from amzmq.wire.control import Mutate, Watch
from amzmq.wire.control_frames import from_frame
from amzmq.wire.journal import JournalLimits
from tests.rpc.rig import QUICK, Losing, World, level, machine, soon, turns, until

GROWN = {"New": State(require=["A"]), "Newer": State(multi=True)}

VIEWS: dict[str, dict[str, Any]] = {
    "everything": {},
    "no schema": {"no_schema": True},
    "allowed": {"allowed_states": ["A", "Multi"]},
    "skipped": {"skipped_states": ["B"]},
    "shallow": {"sync_shallow_clocks": True},
    "mutations": {"sync_mutations": True},
    "partial without schema": {"no_schema": True, "allowed_states": ["Multi", "A"]},
}


def grow(source: Machine, seed: int = 0, states: dict[str, State] | None = None) -> None:
    """More states, all of them in another order."""
    schema = source.schema | (states or GROWN)
    names = list(schema)
    random.Random(seed).shuffle(names)
    source.set_schema(schema, names)


@pytest.mark.parametrize("name", VIEWS)
async def test_waits_and_handlers_live_on_and_new_states_are_followed(
    world: World, name: str
) -> None:
    source = machine()
    await world.serve(source, heartbeat=1000.0)
    client = await world.follow(**VIEWS[name])
    net = client.net_mach
    told: list[str] = []
    net.bind({state: lambda e: told.append(e.name) for state in ("AState", "AEnd", "MultiState")})
    source.add("A")
    await soon(net.when("A"))
    waits = [net.when("Multi"), net.when_not("A"), net.when_query(lambda clock: clock["Multi"])]
    ctx = net.state_ctx("A")
    grow(source)
    source.add("New", "Newer")
    await soon(client.sync())
    if "allowed_states" not in VIEWS[name]:
        assert net.is_("New", "Newer")
    elif "no_schema" in VIEWS[name]:
        assert not net.has("New")
    else:
        assert net.not_("New", "Newer")
    assert net.is_("A")
    assert not any(wait.done() for wait in waits)
    assert not ctx.expired
    source.add("Multi")
    source.remove("A")
    for wait in (*waits, ctx):
        await soon(wait)
    assert net.is_("Multi")
    assert net.not_("A")
    assert sorted(told) == ["AEnd", "AState", "MultiState"]
    assert client.metrics()["mismatches"] == 0
    assert client.metrics()["snapshots"] == 1


@pytest.mark.parametrize("seed", range(4))
async def test_a_mutation_on_its_way_over_a_reordering_runs_for_the_states_it_names(
    world: World, seed: int
) -> None:
    source = machine()
    await world.serve(source)
    client = await world.follow()
    ran: list[str] = []
    source.bind({f"{name}State": lambda e: ran.append(e.name) for name in ("A", "B", "Multi")})

    def late(frame: bytes) -> Sequence[float]:
        return (0.02 if isinstance(from_frame(frame), Mutate) else 0.0,)

    world.network.control_fault = late
    calls = [client.net_mach.add(name) for name in ("A", "B")]
    client.net_mach.add_ns("Multi")
    grow(source, seed)
    assert await soon(asyncio.gather(*calls)) == [Result.EXECUTED] * 2
    await soon(client.sync())
    assert ran == ["AState", "BState", "MultiState"]
    await level(source, client)


@pytest.mark.parametrize("seed", range(4))
async def test_a_mutation_that_is_sent_again_after_a_reordering_names_the_same_states(
    world: World, seed: int
) -> None:
    source = machine()
    await world.serve(source)
    client = await world.follow(call_timeout=0.1, call_retry_delay=0.01)
    losing = world.network.control_fault = Losing(Mutate, 1)
    call = client.net_mach.add("B")
    await until(lambda: losing.lost)
    grow(source, seed)
    await soon(call)
    assert source.active_states() == ["B"]
    await level(source, client)


@pytest.mark.parametrize("seed", range(4))
async def test_a_wait_at_the_source_over_a_reordering_is_for_the_state_it_names(
    world: World, seed: int
) -> None:
    source = machine()
    await world.serve(source)
    client = await world.follow()

    def late(frame: bytes) -> Sequence[float]:
        return (0.02 if isinstance(from_frame(frame), Watch) else 0.0,)

    before = client.net_mach.when_args("Multi", user=1)
    await turns()
    world.network.control_fault = late
    across = client.net_mach.when_args("Multi", user=2)
    await turns(2)
    grow(source, seed)
    await soon(client.sync())
    after = client.net_mach.when_args("Newer", user=3)
    await until(lambda: len(client.watches) == 3)
    await asyncio.sleep(0.03)  # as long as the messages that are late take
    source.add("A", user=1)
    source.add("B", user=2)
    await soon(client.sync())
    assert not any(wait.done() for wait in (before, across, after))
    for user, (state, wait) in enumerate((("Multi", before), ("Multi", across), ("Newer", after))):
        source.add(state, user=user + 1)
        await soon(wait)


async def test_a_schema_that_grows_while_a_client_is_away_is_there_when_it_is_back(
    world: World,
) -> None:
    for limits in (JournalLimits(), JournalLimits(messages=1)):
        source = machine()
        mux = await world.serve(source, journal=limits)
        client = await world.follow()
        await soon(client.net_mach.add("A"))
        wait = client.net_mach.when("Multi")
        world.network.partition(True)
        await until(lambda c=client: c.mach.not_("Ready"))
        grow(source)
        mux.flush()
        source.add("New")
        mux.flush()
        world.network.partition(False)
        await level(source, client)
        assert client.net_mach.is_("A", "New")
        assert await soon(client.net_mach.add("Multi")) == Result.EXECUTED
        await soon(wait)
        await client.stop()
        await mux.stop()


async def test_a_schema_may_grow_many_times_under_load(world: World) -> None:
    source = machine()
    mux = await world.serve(source, heartbeat=0.05)
    clients = {name: await world.follow(**view) for name, view in VIEWS.items()}
    everything = clients["everything"]
    for n in range(10):
        grow(source, n, {f"More{n}": State()})
        source.add(f"More{n}")
        source.toggle("A")
        call = everything.net_mach.add("Multi")
        await turns(n % 4)
        await soon(call)
    await level(source, everything, clients["no schema"], clients["mutations"])
    assert everything.net_mach.is_(*(f"More{n}" for n in range(10)))
    for name, client in clients.items():
        await soon(client.sync())
        assert client.net_mach.is_("Multi"), name
        assert client.net_mach.queue_tick == source.queue_tick, name
    assert mux.counters.garbage == 0


async def test_a_state_is_unknown_until_the_schema_has_it(world: World) -> None:
    source = machine()
    await world.serve(source)
    client = await world.follow()
    with pytest.raises(StateUnknown, match="New"):
        client.net_mach.when("New")
    grow(source)
    await until(lambda: client.net_mach.has("New"))
    await soon(client.net_mach.add("A", "New"))
    await soon(client.net_mach.when("New"))


async def test_a_source_that_comes_back_with_less_is_refused_with_the_reason(
    world: World,
) -> None:
    first = await world.serve(machine())
    client = await world.follow()
    failed = client.mach.when("ConnRetryFailed")
    call = client.net_mach.when("A")
    await first.stop()
    await world.serve(Machine({"A": State(), "Other": State()}, id="src"))
    await soon(failed)
    assert client.mach.not_("Start", "Handshaking")
    with pytest.raises(SchemaMismatch, match="has no B Auto Multi"):
        await soon(client.ready())
    assert not call.done()
    assert client.net_mach.has("B")


async def test_a_source_that_comes_back_with_more_is_followed(world: World) -> None:
    first = await world.serve(machine())
    client = await world.follow()
    wait = client.net_mach.when("B")
    await first.stop()
    again = machine()
    grow(again)
    await world.serve(again)
    await level(again, client)
    again.add("A", "New", "B")
    await soon(wait)
    await level(again, client)
    assert client.net_mach.is_("New")


async def test_a_schema_grows_over_real_sockets() -> None:
    source = machine()
    async with Mux(source) as mux, Client(mux.addr, **QUICK) as client:
        wait = client.net_mach.when("Multi")
        grow(source)
        source.add("A", "New")
        await level(source, client)
        assert await soon(client.net_mach.add("Multi", "Newer")) == Result.EXECUTED
        await soon(wait)
        await level(source, client)
