"""Two sides can tell whether they have the same clock."""

from __future__ import annotations

import pytest

from amzmq.errors import StateUnknown
from amzmq.machine import State
from amzmq.rpc.compare import checksum

from .rig import World, level, machine, soon


async def test_a_replica_that_is_level_has_the_checksum_of_its_source(world: World) -> None:
    source = machine()
    await world.serve(source)
    client = await world.follow()
    net = client.net_mach
    for states in ("A", "B"), ("Multi",), ("Multi",):
        before = checksum(source)
        source.add(*states)
        assert checksum(source) != before
        assert checksum(net) == before
        await level(source, client)
        assert checksum(net) == checksum(source)


async def test_a_replica_of_some_states_has_the_checksum_of_these(world: World) -> None:
    mux = await world.serve()
    client = await world.follow(allowed_states=["B", "Multi"])
    net = client.net_mach
    mux.source.add("A", "B", "Multi")
    await soon(net.when("B", "Multi"))
    await soon(client.sync())
    assert checksum(net, "B", "Multi") == checksum(mux.source, "B", "Multi")
    assert checksum(net) != checksum(mux.source)


def test_a_checksum_sees_what_a_sum_of_ticks_does_not() -> None:
    one, other = machine(), machine()
    one.add("A")
    other.add("B")
    assert one.time().sum() == other.time().sum()
    assert checksum(one) != checksum(other)
    assert 0 <= checksum(one) < 2**32


def test_a_checksum_of_some_states_is_that_of_a_machine_of_them() -> None:
    whole, part = machine(), machine(schema={"B": State(), "Multi": State(multi=True)})
    whole.add("B", "Multi")
    part.add("B", "Multi")
    assert checksum(whole, *part.state_names) == checksum(part)
    with pytest.raises(StateUnknown, match="Nowhere"):
        checksum(whole, "Nowhere")
