"""A thousand clients that want the same at the same moment: bounded work, nobody held up."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from amzmq.rpc.replica import follower
from amzmq.rpc.server.arrivals import HELLOS_A_TURN
from amzmq.rpc.server.sync_desk import SNAPSHOT_BURST
from amzmq.wire.control import (
    Bye,
    CatchUp,
    Hello,
    Refusal,
    RefusalCode,
    SnapshotReply,
    Sync,
    Welcome,
)
from amzmq.wire.journal import JournalLimits
from tests.rpc.crowd import Crowd, crowd
from tests.rpc.rig import World, level, machine, new_world, soon, turns, until
from tests.rpc.virtual_time import in_virtual_time

MANY = 1000
NEVER = 1e-6
"""Snapshots a second: the first ones are the burst, no other comes while a test runs."""

CALM = 3600.0
"""Seconds between heartbeats: raw dealers never say that they live, however busy the host."""

BYTES_A_CLIENT = 24 * 1024


# Many that missed the same.


async def test_what_many_missed_is_encoded_once_and_each_gets_it_under_its_number(
    world: World,
) -> None:
    source = machine()
    mux = await world.serve(source, heartbeat=CALM)
    many = await crowd(world.network, MANY)
    epoch = many.told(Welcome)[0].epoch
    for _ in range(3):
        source.toggle("A")
        mux.flush()
    many.sync(epoch, number=1)
    await until(lambda: len(many.told(CatchUp)) == MANY)
    answers = many.told(CatchUp)
    assert [answer.request for answer in answers] == [1000 + at for at in range(MANY)]
    assert {tuple(answer.bodies) for answer in answers} == {tuple(answers[0].bodies)}
    assert len(answers[0].bodies) == 2
    counts = mux.metrics()
    assert (counts["catch_ups_sent"], counts["catch_ups_encoded"]) == (MANY, 1)
    assert counts["snapshots_sent"] == 0


async def test_a_snapshot_is_encoded_once_for_all_that_need_it(world: World) -> None:
    source = machine()
    source.add("A", "B")
    mux = await world.serve(source, heartbeat=CALM)
    many = await crowd(world.network, MANY)
    many.sync()
    await until(lambda: len(many.told(SnapshotReply)) == MANY)
    answers = many.told(SnapshotReply)
    assert [answer.request for answer in answers] == [1000 + at for at in range(MANY)]
    assert all(answer._replace(request=0) == answers[0]._replace(request=0) for answer in answers)
    assert all(answer.ticks == list(source.time()) for answer in answers)
    counts = mux.metrics()
    assert (counts["snapshots_sent"], counts["snapshots_encoded"]) == (MANY, 1)


@in_virtual_time
async def test_an_answer_is_not_kept_when_nobody_wants_it_any_more() -> None:
    async with new_world() as world:
        mux = await world.serve(heartbeat=0.02)
        client = await world.follow()
        await soon(client.sync())
        encoded = mux.metrics()["catch_ups_encoded"]
        stream = mux._sources.feeds[0].full
        beats = stream.encoded
        await until(lambda: stream.encoded >= beats + 3)
        await soon(client.sync())
        assert mux.metrics()["catch_ups_encoded"] == encoded + 1


async def test_a_snapshot_is_encoded_again_once_something_was_said(world: World) -> None:
    source = machine()
    mux = await world.serve(source, heartbeat=CALM)
    many = await crowd(world.network, 10)
    for times in (1, 2, 3):
        source.toggle("A")
        many.sync()
        await until(lambda times=times: len(many.told(SnapshotReply)) == 10 * times)  # type: ignore[misc]
    assert mux.metrics()["snapshots_encoded"] == 3
    assert [heard[-1].ticks[0] for heard in many.heard] == [3] * 10  # type: ignore[union-attr]


async def test_snapshots_beyond_the_rate_wait_and_are_not_refused(world: World) -> None:
    burst, beyond = int(SNAPSHOT_BURST), 44
    mux = await world.serve(snapshot_rate=NEVER, heartbeat=CALM)
    many = await crowd(world.network, burst + beyond)
    many.sync()
    await turns()
    counts = mux.metrics()
    assert (counts["snapshots_sent"], counts["snapshots_delayed"]) == (burst, beyond)
    assert len(many.told(SnapshotReply)) == burst
    assert many.told(Refusal) == []
    assert mux._desk.waiting == beyond


async def test_a_question_that_waits_and_is_repeated_is_answered_once_as_put_last(
    world: World,
) -> None:
    burst = int(SNAPSHOT_BURST)
    mux = await world.serve(snapshot_rate=NEVER, heartbeat=CALM)
    many = await crowd(world.network, burst + 1)
    many.sync()
    await turns()
    late = next(at for at, heard in enumerate(many.heard) if len(heard) == 1)
    for request in (7, 8):
        many.say(late, Sync(request, b"", 0))
    await turns()
    assert mux._desk.waiting == 1
    assert mux.metrics()["snapshots_delayed"] == 1
    mux._desk._bucket._tokens = 1.0
    mux._desk._go_on()
    await turns()
    assert [it.request for it in many.heard[late][1:]] == [8]  # type: ignore[union-attr]


async def test_a_client_that_left_while_it_waited_is_forgotten(world: World) -> None:
    burst = int(SNAPSHOT_BURST)
    mux = await world.serve(snapshot_rate=NEVER, heartbeat=CALM)
    many = await crowd(world.network, burst + 2)
    many.sync()
    await turns()
    assert mux._desk.waiting == 2
    late = next(at for at, heard in enumerate(many.heard) if len(heard) == 1)
    many.say(late, Bye("enough"))
    await turns()
    assert mux._desk.waiting == 1


async def test_what_the_journal_has_is_not_delayed_behind_snapshots(world: World) -> None:
    source = machine()
    mux = await world.serve(source, snapshot_rate=NEVER, heartbeat=CALM)
    many = await crowd(world.network, int(SNAPSHOT_BURST) + 1)
    many.sync()
    await turns()
    assert mux._desk.waiting == 1
    source.add("A")
    many.sync(many.told(Welcome)[0].epoch, number=0)
    await until(lambda: len(many.told(CatchUp)) == len(many))
    assert mux._desk.waiting == 0


async def test_real_clients_heal_through_a_source_that_paces_its_snapshots(world: World) -> None:
    source = machine()
    limits = JournalLimits(messages=1)
    mux = await world.serve(source, snapshot_rate=10.0, journal=limits, heartbeat=0.1)
    clients = [await world.follow(f"c{at}") for at in range(5)]
    mux._desk._bucket._tokens = 0.0
    world.network.feed_fault = lambda frame: ()
    for _ in range(3):
        source.toggle("A")
        mux.flush()
    world.network.feed_fault = None
    await level(source, *clients)
    assert mux.metrics()["snapshots_delayed"] > 0


async def test_a_follower_that_loses_again_and_again_asks_ever_more_patiently(
    world: World,
) -> None:
    source = machine()
    mux = await world.serve(source, heartbeat=0.05)
    client = await world.follow()
    jitter = client.follower._jitter
    windows = []
    for _ in range(3):
        world.network.feed_fault = lambda frame: ()
        source.add("Multi")
        mux.flush()
        world.network.feed_fault = None
        source.add("Multi")
        mux.flush()
        await level(source, client)
        windows.append(jitter.window)
    assert windows == [follower.RESYNC_WAIT * factor for factor in (1, 2, 4)]


# Many that come at once.


async def test_a_mutation_is_answered_while_a_thousand_say_hello(world: World) -> None:
    mux = await world.serve(heartbeat=CALM)
    client = await world.follow()
    many = Crowd(world.network, MANY)
    await many.connected()
    many.hello()
    reply = asyncio.ensure_future(client.net_mach.add("A"))
    count = 0
    while not reply.done():
        await asyncio.sleep(0)
        count += 1
    assert client.net_mach.is_("A")
    assert count <= 10
    assert len(mux._arrivals) >= MANY - (count + 1) * HELLOS_A_TURN
    await many.welcomed()
    assert mux.metrics()["hellos_delayed"] == MANY - HELLOS_A_TURN
    assert len(mux.servers) == MANY + 1


async def test_a_turn_takes_in_a_handful_of_newcomers(world: World) -> None:
    mux = await world.serve(heartbeat=CALM)
    many = Crowd(world.network, 100)
    await many.connected()
    many.hello()
    before = 0
    while before < len(many):
        await asyncio.sleep(0)
        now = len(mux.servers)
        assert now - before <= HELLOS_A_TURN
        before = now


async def test_the_welcome_is_encoded_once_for_all(world: World) -> None:
    mux = await world.serve(heartbeat=CALM)
    many = Crowd(world.network, MANY)
    await many.connected()
    many.hello()
    welcomes = await many.welcomed()
    assert mux.metrics()["welcomes_encoded"] == 1
    assert all(welcome == welcomes[0] for welcome in welcomes)
    assert welcomes[0].schema is not None


async def test_a_newcomer_that_leaves_before_its_turn_is_not_taken_in(world: World) -> None:
    mux = await world.serve(heartbeat=CALM)
    many = Crowd(world.network, HELLOS_A_TURN + 2)
    await many.connected()
    many.hello()
    many.say(len(many) - 1, Bye("too slow"))
    await until(lambda: len(mux.servers) == len(many) - 1)
    await turns()
    assert len(mux.servers) == len(many) - 1


async def test_hello_again_while_waiting_is_one_newcomer(world: World) -> None:
    mux = await world.serve(heartbeat=CALM)
    many = Crowd(world.network, HELLOS_A_TURN + 2)
    await many.connected()
    many.hello()
    many.say(len(many) - 1, Hello(1, "rc-renamed", b"another1", b""))
    await until(lambda: len(mux.servers) == len(many))
    assert "rc-renamed" in mux.clients
    assert mux.metrics()["hellos_delayed"] == 2


async def test_newcomers_that_still_wait_are_told_when_the_source_stops(world: World) -> None:
    mux = await world.serve(heartbeat=CALM)
    many = Crowd(world.network, MANY)
    await many.connected()
    many.hello()
    await until(lambda: len(mux._arrivals))
    stopping = asyncio.ensure_future(mux.stop())
    await until(lambda: many.told(Refusal))
    for at in range(len(many)):
        if any(isinstance(message, Bye) for message in many.heard[at]):
            many.say(at, Bye("heard"))
    await soon(stopping)
    refusals = many.told(Refusal)
    assert {refusal.code for refusal in refusals} == {RefusalCode.STOPPING}
    assert len(refusals) + len(many.told(Welcome)) == MANY


# What each of them costs.


async def test_a_connected_client_takes_little_memory_at_the_source(world: World) -> None:
    count = 300
    await world.serve(heartbeat=CALM)
    await crowd(world.network, 10)  # what is made once for all
    many = Crowd(world.network, count)
    await many.connected()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        many.hello()
        await many.welcomed()
        many.sync()
        await until(lambda: len(many.told(SnapshotReply)) == count)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < BYTES_A_CLIENT
