"""A feed that loses, repeats and reorders: replicas end equal, and every loss is counted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from amzmq.net import RandomFaults
from amzmq.rpc import Client, Mux
from amzmq.wire.feed import STREAM_ID_SIZE, FeedKind
from amzmq.wire.journal import JournalLimits

from .rig import Payloads, World, clock_of, is_level, level, soon, turns, until

STATES = ("A", "B", "Multi", "Never", "Absent", "ErrDisk")


async def load(mux: Mux, seed: int, steps: int) -> int:
    """Changes the source at random, many frames a second; returns how many payloads it sent."""
    rng = random.Random(seed)
    payloads = 0
    for step in range(steps):
        kind = rng.random()
        if kind < 0.2:
            payloads += 1
            mux.send_payload("n", payloads)
        else:
            getattr(mux.source, rng.choice(["add", "remove", "toggle"]))(rng.choice(STATES))
        if step % 3 == 0:
            await asyncio.sleep(0)
    return payloads


def accounted(client: Client, taken: Payloads) -> int:
    """Payloads that a client was given, or knows to have lost."""
    assert client.metrics()["payloads"] == len(taken.all)
    return len(taken.all) + client.metrics()["payloads_lost"]


@pytest.mark.parametrize("seed", range(8))
async def test_a_third_of_the_feed_is_lost_and_the_rest_reordered(world: World, seed: int) -> None:
    mux = await world.serve(heartbeat=0.1)
    clients = [await world.follow(f"c{n}") for n in range(3)]
    taken = [Payloads(client) for client in clients]
    world.network.feed_fault = RandomFaults(seed, drop=0.33, repeat=0.1, delay=0.5, max_delay=0.01)
    sent = await load(mux, seed, 600)
    mux.source.add("A")
    await level(mux.source, *clients)
    await until(lambda: all(accounted(c, t) == sent for c, t in zip(clients, taken, strict=True)))
    assert world.network.counts.dropped > 100
    for client, given in zip(clients, taken, strict=True):
        assert given.data == sorted(set(given.data))
        assert client.metrics()["gaps"] > 0
        assert client.metrics()["resyncs"] > 0
        assert client.metrics()["mismatches"] == 0
        # The journal reached back, so nothing was lost for good.
        assert client.metrics()["payloads_lost"] == 0
        assert client.metrics()["snapshots"] == 1


@pytest.mark.parametrize("seed", range(4))
async def test_the_same_with_a_journal_that_is_too_short(world: World, seed: int) -> None:
    mux = await world.serve(heartbeat=0.1, journal=JournalLimits(messages=8))
    client = await world.follow()
    taken = Payloads(client)
    world.network.feed_fault = RandomFaults(seed, drop=0.33, delay=0.5, max_delay=0.03)
    sent = await load(mux, seed, 600)
    mux.source.add("A")
    await level(mux.source, client)
    await until(lambda: accounted(client, taken) == sent)
    assert taken.data == sorted(set(taken.data))
    assert client.metrics()["snapshots"] > 1
    assert client.metrics()["payloads_lost"] > 0


@pytest.mark.parametrize("seed", range(3))
async def test_calls_read_their_writes_over_a_bad_feed(world: World, seed: int) -> None:
    mux = await world.serve(heartbeat=0.1)
    clients = [await world.follow() for _ in range(2)]
    world.network.feed_fault = RandomFaults(seed, drop=0.5, repeat=0.2, delay=0.5, max_delay=0.01)
    for step in range(60):
        net = clients[step % 2].net_mach
        await soon(net.add("A"))
        assert net.is_("A")
        await soon(net.remove("A"))
        assert net.not_("A")
    await level(mux.source, *clients)


async def test_repeated_messages_are_dropped(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    taken = Payloads(client)
    world.network.feed_fault = lambda frame: (0.0, 0.0, 0.002)
    for n in range(20):
        mux.source.toggle("A")
        mux.send_payload("n", n)
    await level(mux.source, client)
    await until(lambda: client.metrics()["duplicates"] == 80)
    assert taken.data == list(range(20))
    assert clock_of(client.net_mach) == clock_of(mux.source)
    assert client.metrics()["gaps"] == 0


async def test_a_loss_at_the_very_end_is_found_by_the_heartbeat(world: World) -> None:
    mux = await world.serve(heartbeat=0.05)
    client = await world.follow()
    world.network.feed_fault = lambda frame: (
        () if frame[STREAM_ID_SIZE] != FeedKind.HEARTBEAT else (0.0,)
    )
    mux.source.add("A")
    await level(mux.source, client)
    metrics = client.metrics()
    assert (metrics["gaps"], metrics["resyncs"], metrics["snapshots"]) == (1, 1, 1)


async def test_a_heartbeat_shows_drift_and_a_snapshot_heals_it(world: World) -> None:
    mux = await world.serve(heartbeat=0.05)
    client = await world.follow()
    await client.net_mach.add("A")
    client.net_mach._ticks[1] += 2
    client.follower.reader._sum.reset(client.net_mach.time(), client.net_mach.queue_tick, 0)
    assert not is_level(client, mux.source)
    await level(mux.source, client)
    assert client.metrics()["mismatches"] == 1
    assert client.metrics()["snapshots"] == 2


async def test_what_is_only_late_is_waited_for_and_not_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amzmq.rpc.replica.follower.RESYNC_WAIT", 60.0)
    mux = await world.serve()
    client = await world.follow()
    client.follower._rng = random.Random(1)
    late = iter([0.02])
    world.network.feed_fault = lambda frame: (next(late, 0.0),)
    for _ in range(5):
        mux.source.toggle("A")
        await turns(3)
    await level(mux.source, client)
    assert client.metrics()["gaps"] == 1
    assert client.metrics()["resyncs"] == 0
    assert mux.counters.syncs == 1


async def test_a_question_that_gets_no_answer_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amzmq.rpc.replica.follower.RESYNC_RETRY", (0.01, 0.02))
    mux = await world.serve(heartbeat=0.05)
    client = await world.follow()
    lost: list[Sequence[float]] = [(), ()]
    world.network.control_fault = lambda frame: lost.pop() if lost and len(frame) > 8 else (0.0,)
    dropped = [()]
    world.network.feed_fault = lambda frame: dropped.pop() if dropped else (0.0,)
    mux.source.add("A")
    await level(mux.source, client)
    assert client.metrics()["gaps"] == 1
