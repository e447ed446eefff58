"""Faults 5, 12, 13, 35: what a client asked to see, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from amzmq.machine import Machine, Result, State
from amzmq.wire.journal import JournalLimits

from ..rig import World, level, machine, soon, until
from .tampering import PATIENT, Tampering, wrong_checksum

RELATIONS = {
    "A": State(auto=True, require="C"),
    "B": State(multi=True, add="C"),
    "C": State(),
    "D": State(add=["C", "B"]),
}


def source_of_relations() -> Machine:
    return Machine(RELATIONS, id="src", states=["Exception", *RELATIONS])


@pytest.mark.parametrize("view", [{}, {"no_schema": True}])
async def test_fault_05_a_snapshot_holds_the_view_and_no_more(
    world: World, view: dict[str, Any]
) -> None:
    source = machine()
    mux = await world.serve(source, heartbeat=PATIENT, journal=JournalLimits(messages=1))
    source.add("B", "Multi")
    client = await world.follow(allowed_states=["A", "Absent"], **view)
    net = client.net_mach
    Tampering(mux, wrong_checksum)
    source.add("A")
    await until(lambda: client.metrics()["snapshots"] == 2)
    source.add("Multi")
    source.add("Absent")
    await soon(client.sync())
    await soon(net.when("Absent"))
    assert net.active_states() == ["A", "Absent"]
    assert net.time().sum() == source.tick("A") + source.tick("Absent")
    assert net.queue_tick == source.queue_tick
    assert client.metrics()["mismatches"] == 1
    assert client.metrics()["garbage"] == 0


async def test_fault_12_shallow_clocks_are_0_and_1_and_every_push_of_them_fits(
    world: World,
) -> None:
    source = source_of_relations()
    await world.serve(source, heartbeat=PATIENT)
    client = await world.follow(sync_shallow_clocks=True)
    net = client.net_mach
    for states in ("C", "B", "D", "B", "C", "D"):
        source.toggle(states)
        await until(lambda: set(net.active_states()) == set(source.active_states()))
        assert net.time() == tuple(tick % 2 for tick in source.time())
    await soon(net.add("D"))
    assert net.time() == tuple(tick % 2 for tick in source.time())
    metrics = client.metrics()
    assert (metrics["mismatches"], metrics["gaps"], metrics["snapshots"]) == (0, 0, 1)
    assert metrics["updates"] > 6


async def test_fault_13_a_client_that_comes_back_gets_the_view_of_that_time(world: World) -> None:
    source = source_of_relations()
    await world.serve(source)
    known = source.state_names
    for view, names in (
        ({}, known),
        ({"no_schema": True, "allowed_states": ["B"]}, ("B", "Exception")),
        ({"allowed_states": ["B"]}, known),
        ({"no_schema": True}, known),
        ({}, known),
    ):
        client = await world.follow("one", **view)
        net = client.net_mach
        assert net.state_names == names
        before = source.tick("B")
        assert await soon(net.add("B")) == Result.EXECUTED
        assert source.tick("B") == net.tick("B") > before
        assert (net.schema["B"].multi) is ("no_schema" not in view)
        await soon(net.remove("B"))
        assert source.not_("B")
        await client.stop()


async def test_fault_13_two_views_of_one_source_do_not_touch_each_other(world: World) -> None:
    source = source_of_relations()
    await world.serve(source)
    full = await world.follow("full")
    bare = await world.follow("bare", no_schema=True, allowed_states=["C", "D"])
    assert full.net_mach.state_names == source.state_names
    assert bare.net_mach.state_names == ("C", "D", "Exception")
    await soon(bare.net_mach.add("D"))
    await level(source, full)
    await soon(full.net_mach.remove("D"))
    await soon(bare.net_mach.when_not("D"))
    assert bare.net_mach.time("C", "D") == source.time("C", "D")


async def test_fault_35_what_is_inferred_agrees_with_its_tick_and_ends_with_its_reason(
    world: World,
) -> None:
    source = source_of_relations()
    await world.serve(source)
    client = await world.follow(allowed_states=["A"])
    net = client.net_mach
    seen: list[bool] = []
    net.bind({"AnyState": lambda e: seen.append(all(_agrees(net, at) for at in net.state_names))})
    for _ in range(3):
        source.add("C")
        await soon(net.when("A", "C"))
        assert _agrees(net, "C")
        source.remove("C")
        await soon(net.when_not("A", "C"))
        assert net.active_states() == []
        assert _agrees(net, "C")
    assert seen == [True] * 6


def _agrees(net: Any, state: str) -> bool:
    return bool(net.is_(state)) is bool(net.tick(state) % 2)
