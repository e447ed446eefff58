"""What is read from a replica is what is read from its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amzmq.errors import StateUnknown
from amzmq.machine import Machine
from amzmq.rpc import Client
from tests.rpc.rig import World, level, machine, soon

READS: dict[str, Callable[[Any], object]] = {
    "active_states": lambda m: sorted(m.active_states()),
    "active_states of some": lambda m: m.active_states("Multi", "B", "A"),
    "any_": lambda m: [m.any_("B"), m.any_("B", "A"), m.any_(("A", "B")), m.any_(("A", "Multi"))],
    "clock": lambda m: m.clock(),
    "clock of some": lambda m: m.clock("Multi", "A"),
    "err state": lambda m: m.is_err(),
    "has": lambda m: [m.has("A"), m.has("A", "Multi"), m.has("A", "Nowhere")],
    "index": lambda m: [m.index("Multi"), m.index("Nowhere")],
    "inbound_relations_of": lambda m: m.inbound_relations_of("Absent"),
    "inspect of some": lambda m: m.inspect("Multi", "A"),
    "is_": lambda m: [m.is_("A"), m.is_("A", "Multi"), m.is_("A", "B")],
    "is_clock": lambda m: [m.is_clock({"A": 1}), m.is_clock({"A": 1, "Multi": 4})],
    "is_time": lambda m: [m.is_time((1, 3), "A", "Multi"), m.is_time((1, 5), "A", "Multi")],
    "machine_tick": lambda m: m.machine_tick,
    "not_": lambda m: [m.not_("B"), m.not_("A", "B"), m.not_("A")],
    "parse_states": lambda m: m.parse_states("B", "Nowhere", "A", "B"),
    "queue_tick": lambda m: m.queue_tick,
    "relations_between": lambda m: m.relations_between("Never", "Absent"),
    "relations_of": lambda m: m.relations_of("Auto"),
    "schema_ver": lambda m: m.schema_ver,
    "state_names": lambda m: m.state_names,
    "switch": lambda m: [m.switch("B", "Multi"), m.switch("B")],
    "tick": lambda m: [m.tick("Multi"), m.tick("B"), m.tick("Nowhere")],
    "time": lambda m: m.time(),
    "time of some": lambda m: m.time("Multi", "A"),
    "was_clock": lambda m: [m.was_clock({"A": 0, "Multi": 3}), m.was_clock({"Multi": 4})],
    "was_time": lambda m: [m.was_time((0, 3), "A", "Multi"), m.was_time((2, 3), "A", "Multi")],
}


async def moved(world: World) -> tuple[Machine, Client]:
    """A source that has done something, and a client that is level with it."""
    source = machine()
    source.import_({**source.export(), "machine_tick": 6})
    await world.serve(source)
    client = await world.follow("reader")
    source.add("A", "Multi")
    source.add("Multi")
    await level(source, client)
    return source, client


@pytest.mark.parametrize("name", READS)
async def test_a_read_of_a_replica_is_that_of_its_source(world: World, name: str) -> None:
    source, client = await moved(world)
    assert READS[name](client.net_mach) == READS[name](source)


@pytest.mark.parametrize("read", ["not_", "when", "when_not", "relations_of", "state_ctx"])
async def test_an_unknown_name_is_an_error_at_the_call(world: World, read: str) -> None:
    _, client = await moved(world)
    with pytest.raises(StateUnknown, match="Nowhere"):
        getattr(client.net_mach, read)("Nowhere")


async def test_a_replica_has_an_id_of_its_own_and_knows_that_of_its_source(world: World) -> None:
    _, client = await moved(world)
    net = client.net_mach
    assert (net.id, net.remote_id) == ("rnm-reader", "src")
    assert {"rpc-netmach", "src-id:src"} <= set(net.tags)


async def test_a_schema_that_was_read_may_be_changed_without_harm(world: World) -> None:
    source, client = await moved(world)
    client.net_mach.schema.clear()
    assert client.net_mach.schema == source.schema


async def test_an_error_added_through_a_replica_is_its_last_one(world: World) -> None:
    source, client = await moved(world)
    err = OSError("disk full")
    await client.net_mach.add_err_state("ErrDisk", err)
    assert client.net_mach.err() is err
    assert client.net_mach.is_err()
    assert source.is_("Exception", "ErrDisk", "ErrOnClient")


async def test_a_replica_is_let_go_and_its_source_lives_on(world: World) -> None:
    source, client = await moved(world)
    net = client.net_mach
    told: list[str] = []
    net.on_dispose(lambda: told.append("first"))
    net.on_dispose(lambda: told.append("second"))
    pending = [net.when("B"), net.state_ctx("A").wait()]
    assert not net.is_disposed
    assert not net.when_disposed().done()
    net.dispose()
    net.dispose()
    assert net.is_disposed
    assert told == ["first", "second"]
    await soon(net.when_disposed())
    await soon(pending[0])
    await soon(pending[1])
    assert (str(net), net.active_states()) == ("", [])
    assert not source.is_disposed


async def test_the_groups_of_a_source_are_those_of_its_replica(world: World) -> None:
    source = machine()
    source.set_groups({"Pair": ["A", "B"], "Rest": ["Multi"]})
    await world.serve(source)
    net = (await world.follow()).net_mach
    assert net.groups() == source.groups()
    assert list(net.groups()) == ["Pair", "Rest"]
