"""Faults 4, 14, 17, 20, 24: how snapshots, replies, pushes and schemas come together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from amzmq.machine import Result, State, Tracer
from amzmq.rpc import Client
from amzmq.rpc.server.server import Server
from amzmq.wire.control import SnapshotReply, Sync
from amzmq.wire.control_frames import from_frame
from tests.rpc.faults.tampering import PATIENT
from tests.rpc.faults.test_updates import troubles
from tests.rpc.rig import World, clock_of, level, machine, soon, turns, until


async def test_fault_04_a_snapshot_has_the_machine_tick(world: World) -> None:
    source = machine()
    source.add("A")
    for _ in range(2):
        source.import_(source.export())
    await world.serve(source, heartbeat=PATIENT)
    client = await world.follow()
    assert client.net_mach.machine_tick == source.machine_tick == 2
    await soon(client.sync())
    source.add("B")
    await level(source, client)
    assert troubles(client) == {}


async def test_fault_14_what_changes_within_the_handshake_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    sync = Server.sync

    def busy(server: Server, message: Sync) -> None:
        sync(server, message)
        # The server's handshake is done; the client's is not before the answer is there.
        mux.source.add("A")
        mux.flush()
        mux.source.add("B")

    def late(frame: bytes) -> Sequence[float]:
        return (0.02 if isinstance(from_frame(frame), SnapshotReply) else 0.0,)

    monkeypatch.setattr(Server, "sync", busy)
    world.network.control_fault = late
    client = await world.follow()
    await level(mux.source, client)
    assert client.metrics()["updates"] == 2
    assert troubles(client) == {}
    assert client.metrics()["snapshots"] == 1


async def test_fault_17_replies_and_pushes_make_no_resync_of_each_other(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    client = await world.follow()
    net = client.net_mach
    for n in range(300):
        call = net.toggle("A")
        mux.source.add("Multi")
        if n % 2:
            await turns(1)
        mux.source.toggle("Absent")
        assert await soon(call) == Result.EXECUTED
    await level(mux.source, client)
    assert troubles(client) == {}
    assert client.metrics()["snapshots"] == 1


async def test_fault_20_the_last_change_of_an_interval_is_told_after_a_lost_connection(
    world: World,
) -> None:
    mux = await world.serve(heartbeat=PATIENT, push_interval=0.02)
    client = await world.follow()
    mux.source.add("A")
    await level(mux.source, client)
    for _ in range(2):
        gone = client.mach.when_not("Ready")
        world.network.partition(True)
        await soon(gone)
        world.network.partition(False)
        await soon(client.mach.when("Ready"))
        mux.source.toggle("A")
        await turns()
        mux.source.toggle("B")  # within the interval of the first one
        await level(mux.source, client)
    assert client.metrics()["connects"] == 3


async def test_fault_20_a_source_that_stops_tells_the_last_change_of_its_interval(
    world: World,
) -> None:
    mux = await world.serve(heartbeat=PATIENT, push_interval=1000.0)
    client = await world.follow()
    mux.source.add("A")
    mux.flush()
    await level(mux.source, client)
    mux.source.add("B")
    await turns()
    assert client.net_mach.not_("B")
    seen = client.net_mach.when("B")
    await asyncio.gather(mux.stop(), soon(seen))


class Schemas(Tracer):
    id = "schemas"

    def __init__(self) -> None:
        self.old: list[int] = []

    def schema_change(self, machine: object, old: object) -> None:
        self.old.append(len(old))  # type: ignore[arg-type]


async def test_fault_24_new_states_are_followed_without_a_mutation_of_the_client(
    world: World,
) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    client = await world.follow()
    net = client.net_mach
    tracer = Schemas()
    net.bind_tracer(tracer)
    entered: list[str] = []
    net.bind({"BState": lambda e: entered.append(e.name)})
    mux.source.add("A")
    await level(mux.source, client)
    waiting = net.when("B")
    size = len(net.state_names)
    # The new states come first, so every index changes.
    grown = {"New": State(require="A"), "Newer": State(multi=True), **mux.source.schema}
    mux.source.set_schema(grown)
    await until(lambda: net.has("New"))
    assert net.is_("A")
    assert tracer.old == [size]
    mux.source.add("New", "Newer")
    await soon(net.when("New", "Newer"))
    assert not waiting.done()
    mux.source.add("B")
    await soon(net.when("New", "Newer", "B"))
    await soon(waiting)
    await level(mux.source, client)
    assert entered == ["BState"]
    assert _is_whole(client)
    assert clock_of(net) == clock_of(mux.source)


def _is_whole(client: Client) -> bool:
    return troubles(client) == {} and client.metrics()["snapshots"] == 1
