"""Faults 1-3 and 6-10: what is pushed, and what becomes of a push that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amzmq.machine import Machine, Result, State
from amzmq.rpc import Client
from amzmq.rpc.server.server import Server
from amzmq.wire.checksum import ClockSum
from amzmq.wire.control import Sync
from amzmq.wire.feed import Update

from ..rig import SCHEMA, World, clock_of, level, machine, soon, turns, until
from .tampering import PATIENT, Tampering, wrong_checksum


def troubles(client: Client) -> dict[str, int]:
    """What a replica noticed of faults, all 0 when all went well."""
    names = ("gaps", "resyncs", "mismatches", "garbage", "payloads_lost")
    counted = {name: client.metrics()[name] for name in names}
    return {name: count for name, count in counted.items() if count}


@pytest.mark.parametrize("view", [{}, {"allowed_states": ["A"]}, {"sync_mutations": True}])
async def test_fault_01_what_changes_no_tick_is_told_and_the_next_change_fits(
    world: World, view: dict[str, Any]
) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    client = await world.follow(**view)
    assert mux.source.add("Never") == Result.CANCELED
    await until(lambda: client.net_mach.queue_tick == 2)
    mux.source.add("Multi")  # is not in the view, if that has only A
    await until(lambda: client.net_mach.queue_tick == 3)
    mux.source.add("A")
    await soon(client.net_mach.when("A"))
    mux.source.remove("A")
    await soon(client.net_mach.when_not("A"))
    assert troubles(client) == {}
    assert client.metrics()["snapshots"] == 1


async def test_fault_02_an_update_that_does_not_fit_is_healed_with_nothing_behind_it(
    world: World,
) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    client = await world.follow()
    Tampering(mux, wrong_checksum)
    mux.source.add("A")
    await level(mux.source, client)
    assert troubles(client) == {"mismatches": 1, "resyncs": 1}
    assert client.metrics()["snapshots"] == 2
    mux.source.add("B")
    await level(mux.source, client)
    assert client.metrics()["snapshots"] == 2


async def test_fault_03_a_mutation_told_wrong_is_healed_while_calls_go_on(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    client = await world.follow(sync_mutations=True)
    Tampering(mux, wrong_checksum, times=3)
    mux.source.add("A")
    await until(lambda: client.metrics()["mismatches"])
    assert await soon(client.net_mach.add("B")) == Result.EXECUTED
    assert client.net_mach.is_("A", "B", "Auto")
    await soon(client.sync())
    await level(mux.source, client)


async def test_fault_06_a_snapshot_of_a_change_that_waits_to_be_told_is_not_told_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    sync = Server.sync

    def busy(server: Server, message: Sync) -> None:
        mux.source.add("Multi")
        sync(server, message)

    monkeypatch.setattr(Server, "sync", busy)
    client = await world.follow()
    await level(mux.source, client)
    mux.source.add("A")
    await level(mux.source, client)
    assert client.net_mach.tick("Multi") == mux.source.tick("Multi") == 1
    assert troubles(client) == {}
    assert client.metrics()["snapshots"] == 1


async def test_fault_07_what_was_told_is_not_told_again(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    client = await world.follow(sync_mutations=True)
    (feed,) = mux._sources.feeds
    for told in range(2, 11, 2):
        mux.source.add("Multi")
        mux.source.add("A", "B")
        await level(mux.source, client)
        assert feed._recorder is not None
        assert not feed._recorder.pending
        # Auto of itself is a third one, once.
        assert client.metrics()["updates"] == told + 1
    assert client.metrics()["duplicates"] == 0


COUNTS = st.integers(0, 1 << 40)


@given(
    st.lists(COUNTS, min_size=2, max_size=8),
    st.data(),
    st.sampled_from([8, 16, 32, 48]),
    st.integers(1, 3),
)
def test_fault_08_a_checksum_sees_wraps_compensations_and_swaps(
    ticks: list[int], data: st.DataObject, bits: int, by: int
) -> None:
    names = [f"S{at}" for at in range(len(ticks))]

    def value(ticks: list[int], queue_tick: int = 5, machine_tick: int = 1) -> int:
        return ClockSum(names).reset(ticks, queue_tick, machine_tick)

    right = value(ticks)
    one, other = data.draw(st.permutations(range(len(ticks))))[:2]

    def changed(changes: dict[int, int]) -> list[int]:
        return [tick + changes.get(at, 0) for at, tick in enumerate(ticks)]

    assert value(changed({one: by << bits})) != right
    assert value(changed({one: by, other: -by})) != right
    assert value(ticks, 5 + (by << bits)) != right
    assert value(ticks, 5, 1 + (by << bits)) != right
    assert value(changed({one: by}), 5 - by) != right
    if ticks[one] != ticks[other]:
        swap = ticks[other] - ticks[one]
        assert value(changed({one: swap, other: -swap})) != right


WRONGS: dict[str, Callable[[Update], Update]] = {
    "compensated": lambda u: u._replace(changes=[u.changes[0], 2, u.changes[2], 0, *u.changes[4:]]),
    "tick wrapped": lambda u: u._replace(changes=[u.changes[0], 1 + (1 << 32), *u.changes[2:]]),
    "queue wrapped": lambda u: u._replace(queue_ticks=u.queue_ticks + (1 << 16)),
    "another state": lambda u: u._replace(changes=[u.changes[0] + 3, *u.changes[1:]]),
}


@pytest.mark.parametrize("wrong", WRONGS)
async def test_fault_08_an_update_changed_on_the_way_is_never_shown(
    world: World, wrong: str
) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    client = await world.follow()
    seen: list[object] = []
    client.net_mach.bind({"AnyState": lambda e: seen.append(clock_of(client.net_mach))})
    Tampering(mux, WRONGS[wrong])
    mux.source.add("A", "B")
    await level(mux.source, client)
    assert client.metrics()["mismatches"] == 1
    assert seen == [clock_of(mux.source)]


async def test_fault_09_no_difference_is_too_large_to_be_told(world: World) -> None:
    source = machine()
    await world.serve(source, heartbeat=PATIENT)
    client = await world.follow()
    for _ in range(300):
        source.import_(source.export())
    far = source.export()
    far["time"] = [tick + (1 << 40) for tick in far["time"]]
    source.import_(far)
    for _ in range(66_000):
        source.add("Never")
    await level(source, client)
    assert client.net_mach.machine_tick == 301
    assert client.net_mach.queue_tick > 65_536
    assert client.net_mach.tick("A") == 1 << 40
    assert troubles(client) == {}
    assert client.metrics()["snapshots"] == 1


async def test_fault_10_a_source_with_a_history_answers_its_first_mutation_right(
    world: World,
) -> None:
    source = Machine(SCHEMA, id="src")
    for _ in range(20):
        source.toggle("A")
        source.add("Multi")
    await world.serve(source, heartbeat=PATIENT)
    client = await world.follow()
    net = client.net_mach
    assert await soon(net.add("B")) == Result.EXECUTED
    assert clock_of(net) == clock_of(source)
    queued = net.when_queue(source.queue_tick + 1)
    await turns(5)
    assert not queued.done()
    source.toggle("A")
    await soon(queued)
    assert clock_of(net) == clock_of(source)
    assert troubles(client) == {}


async def test_fault_10_the_first_reply_to_a_partial_client_is_right(world: World) -> None:
    source = Machine({"A": State(), "B": State(multi=True), "C": State()}, id="src")
    for _ in range(5):
        source.add("B")
        source.toggle("C")
    await world.serve(source, heartbeat=PATIENT)
    client = await world.follow(no_schema=True, allowed_states=["C", "B"])
    await soon(client.net_mach.add("C", "B"))
    assert client.net_mach.time("B", "C") == source.time("B", "C")
    assert client.net_mach.queue_tick == source.queue_tick
    assert troubles(client) == {}
