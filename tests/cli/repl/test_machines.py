from __future__ import annotations

import pytest

from amzmq.cli.repl.entry import Entry
from amzmq.cli.repl.machines import Machines, MachineUnknown
from amzmq.errors import NotConnected
from amzmq.machine import Machine
from amzmq.rpc import Mux
from amzmq.rpc.listing import MachineInfo
from tests.rpc.rig import soon, until

from .rig import SCHEMA, Rig


def ids(machines: Machines) -> list[str]:
    return [entry.id for entry in machines.entries()]


async def test_every_machine_at_every_address_is_followed(rig: Rig) -> None:
    await rig.serve_all("door", "gate")
    assert ids(rig.machines) == ["door", "gate"]
    assert all(entry.is_ready for entry in rig.machines.entries())
    assert rig.machines.mach.is_("Connected", "ConnectedFully")
    assert rig.machines.failures == {}


async def test_all_machines_of_one_mux_are_followed_those_that_come_later_as_well(
    rig: Rig,
) -> None:
    door = await rig.serve("door")
    await rig.follow()
    gate = Machine(SCHEMA, id="gate")
    mux = rig.served["mem://door"]
    mux.serve(gate)
    await until(lambda: ids(rig.machines) == ["door", "gate"])
    assert await rig.machines.settled(10)
    await rig.run("group-add Open")
    assert door.is_("Open")
    assert gate.is_("Open")
    mux.unserve("gate")
    await until(lambda: ids(rig.machines) == ["door"])
    gate.dispose()


async def test_some_machines_are_connected_while_others_cannot_be_reached(rig: Rig) -> None:
    await rig.serve("door")
    rig.machines.follow(["mem://door", "mem://nobody"])
    assert not await rig.machines.settled(0.3)
    assert rig.machines.mach.is_("Connected")
    assert rig.machines.mach.not_("ConnectedFully")
    await until(lambda: list(rig.machines.failures) == ["mem://nobody"])


async def test_an_address_that_comes_later_is_found(rig: Rig) -> None:
    rig.machines.follow(["mem://door"])
    assert not await rig.machines.settled(0.05)
    await rig.serve("door")
    assert await rig.machines.settled(10)
    assert ids(rig.machines) == ["door"]


async def test_addresses_no_longer_followed_are_let_go_of(rig: Rig) -> None:
    await rig.serve_all("door", "gate")
    rig.machines.follow(["mem://gate"])
    assert ids(rig.machines) == ["gate"]
    await until(lambda: not rig.served["mem://door"].clients)
    assert rig.machines.mach.is_("ConnectedFully")
    rig.machines.follow([])
    assert rig.machines.mach.not_("Connected")


async def test_a_source_that_goes_away_is_seen_and_found_again(rig: Rig) -> None:
    (door,) = await rig.serve_all("door")
    await rig.served["mem://door"].stop()
    await until(lambda: rig.machines.mach.not_("Connected"))
    (entry,) = rig.machines.entries()
    with pytest.raises(NotConnected, match="door at mem://door"):
        assert entry.replica
    assert entry.is_active("Closed")  # as far as is known
    async with Mux(door, "mem://door", transport=rig.network.transport()):
        assert await rig.machines.settled(10)
        rig.machines.follow([])
        await until(lambda: rig.machines.mach.not_("Connected"))


async def test_a_client_that_gave_up_is_made_anew(rig: Rig) -> None:
    await rig.serve_all("door")
    (entry,) = rig.machines.entries()
    entry.client.mach.remove("Start")
    await until(lambda: rig.machines.entries() != [entry])
    assert await rig.machines.settled(10)


async def test_reconnect_looks_at_once(rig: Rig) -> None:
    looks: list[str] = []

    async def find(addr: str) -> list[MachineInfo]:
        looks.append(addr)
        return []

    async with Machines(find, rig.connect, interval=3600.0) as machines:
        machines.follow(["mem://door"])
        await until(lambda: len(looks) == 1)
        machines.reconnect()
        await until(lambda: len(looks) == 2)


async def test_a_machine_that_is_served_no_longer_is_forgotten(rig: Rig) -> None:
    await rig.serve("door")
    listings: list[list[MachineInfo]] = [await rig.find("mem://door"), []]

    async def find(addr: str) -> list[MachineInfo]:
        return listings[0]

    async with Machines(find, rig.connect, interval=0.005) as machines:
        machines.follow(["mem://door"])
        assert await machines.settled(10)
        del listings[0]
        await until(lambda: not machines.entries())
        await until(lambda: not rig.served["mem://door"].clients)


async def test_an_error_in_the_block_comes_out_as_it_is(rig: Rig) -> None:
    async def ask() -> None:
        async with Machines(rig.find, rig.connect) as machines:
            machines.follow(["mem://nobody"])
            machines.named("door")

    with pytest.raises(MachineUnknown, match="there are: none"):
        await ask()


async def test_a_machine_is_named_by_its_id_or_by_a_dot(rig: Rig) -> None:
    await rig.serve_all("door", "gate")
    door, gate = rig.machines.entries()
    named = rig.machines.named
    assert (named("door"), named("gate"), named("gate@mem://gate")) == (door, gate, gate)
    assert named(".") is door
    await rig.served["mem://door"].stop()
    await until(lambda: not door.is_ready)
    assert named(".") is gate
    with pytest.raises(MachineUnknown, match="called 'lamp'; there are: door gate"):
        named("lamp")


async def test_no_dot_without_a_machine_that_is_ready(rig: Rig) -> None:
    with pytest.raises(MachineUnknown, match="no machine is ready"):
        rig.machines.named(".")


async def test_machines_of_one_id_are_told_apart_by_their_addresses(rig: Rig) -> None:
    await rig.serve("door", "mem://a")
    await rig.serve("door", "mem://b")
    await rig.follow()
    names = [rig.machines.name_of(entry) for entry in rig.machines.entries()]
    assert names == ["door@mem://a", "door@mem://b"]
    assert rig.machines.named("door@mem://b").addr == "mem://b"
    with pytest.raises(MachineUnknown, match="several machines are called 'door'"):
        rig.machines.named("door")


async def test_before_a_machine_is_reached_its_listing_is_what_is_known(rig: Rig) -> None:
    await rig.serve("door")
    (info,) = await soon(rig.find("mem://door"))
    client = rig.connect("mem://door", "door")
    entry = Entry("mem://door", info, client)
    assert entry.is_active("Closed")
    assert not entry.is_active("Open")
    assert not entry.has("Closed")  # a listing does not name the states
    assert (entry.time_sum(), entry.time_sum("Closed")) == (2, 0)
    assert not entry.is_connecting
    await client.stop()
