"""Staleness travels down: whoever follows a relay is told when the relay's own source is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from amzmq.errors import NotConnected
from amzmq.machine import Machine, State
from amzmq.rpc import Client, Mux, Relay, Subscriber, list_machines
from amzmq.wire.feed import HEARTBEAT_BYTE, STREAM_ID_SIZE, Heartbeat, parse_body
from tests.rpc.relay.test_relay import R1, R2, R3, Tree
from tests.rpc.rig import ADDR, QUICK, level, soon, turns, until

STALE = "stale"

NEVER = 100.0
"""Seconds between heartbeats that nobody in a test will see."""


@pytest.fixture
async def tree() -> AsyncIterator[Tree]:
    async with AsyncExitStack() as stack:
        yield Tree(stack)


async def chain(tree: Tree, **options: Any) -> list[Relay]:
    """Three relays, each below the other."""
    return [
        await tree.relayed(bind, above, **options)
        for bind, above in ((R1, ADDR), (R2, R1), (R3, R2))
    ]


def tells(client: Client) -> bool:
    """Whether a client says that a relay on the way has lost its source."""
    is_stale = client.mach.is_("Stale")
    assert client.net_mach.is_stale >= is_stale
    return is_stale


async def test_the_mark_travels_down_any_depth_and_goes_by_itself(tree: Tree) -> None:
    mux = await tree.serve()
    relays = await chain(tree, heartbeat=NEVER)
    client = await tree.follow(addr=R3)
    assert not tells(client)
    await mux.stop()
    await until(lambda: all(relay.mach.is_("Stale") for relay in relays) and tells(client))
    assert not any(relay.mach.is_("Ready") for relay in relays)
    assert client.mach.is_("Ready")
    for relay in relays:
        (info,) = await list_machines(relay.addr, transport=tree.network.transport())
        assert STALE in info.tags
    again = await tree.serve()
    again.source.add("A")
    await until(lambda: all(relay.mach.is_("Ready") for relay in relays) and not tells(client))
    await level(again.source, client)
    assert not any(STALE in relay.infos()[0].tags for relay in relays)


async def test_a_source_that_was_only_cut_off_is_fresh_again_without_a_new_hello(
    tree: Tree,
) -> None:
    mux = await tree.serve()
    first, second, _ = await chain(tree, heartbeat=NEVER)
    client = await tree.follow(addr=R3)
    first.clients["src"].mach.add("Disconnected")
    await until(lambda: tells(client))
    await until(lambda: not tells(client))
    assert first.mach.is_("Ready")
    assert second.mach.is_("Ready")
    assert client.metrics()["connects"] == 1
    mux.source.add("A")
    await level(mux.source, client)


@pytest.mark.parametrize("view", [{"allowed_states": ["A"]}, {"sync_shallow_clocks": True}])
async def test_followers_of_a_part_are_told_as_well(tree: Tree, view: dict[str, Any]) -> None:
    mux = await tree.serve()
    await chain(tree, heartbeat=NEVER)
    before = await tree.follow(addr=R3, **view)
    await mux.stop()
    await until(lambda: tells(before))
    late = await tree.follow(addr=R3, no_schema=True, **view)
    assert tells(late)
    again = await tree.serve()
    again.source.add("A")
    await until(lambda: not tells(before) and not tells(late))
    await until(lambda: before.net_mach.is_("A") and late.net_mach.is_("A"))


async def test_who_connects_to_a_stale_relay_knows_it_when_it_is_ready(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed(R1, heartbeat=NEVER)
    below = await tree.relayed(R2, R1, heartbeat=NEVER)
    await mux.stop()
    await until(lambda: below.mach.is_("Stale"))
    assert tells(await tree.follow(addr=R1))
    assert tells(await tree.follow(addr=R2))
    assert tells(await tree.follow(addr=R2))  # which shares a follower with the one before


async def test_a_relay_that_starts_below_a_stale_one_serves_and_says_so(tree: Tree) -> None:
    mux = await tree.serve()
    mux.source.add("A")
    first = await tree.relayed(R1)
    await mux.stop()
    await until(lambda: first.mach.is_("Stale"))
    second = await tree.relayed(R2, R1)
    assert second.mach.is_("Stale")
    client = await tree.follow(addr=R2)
    assert tells(client)
    assert client.net_mach.is_("A")
    await tree.serve()
    await until(lambda: second.mach.is_("Ready") and not tells(client))


async def test_a_mark_that_was_lost_is_told_by_the_next_heartbeat(tree: Tree) -> None:
    mux = await tree.serve()
    relay = await tree.relayed(R1, heartbeat=0.05)
    client = await tree.follow(addr=R1)
    lost: list[bytes] = []

    def lose_first_mark(frame: bytes) -> tuple[float, ...]:
        is_mark = frame[STREAM_ID_SIZE:][:1] == HEARTBEAT_BYTE
        message = parse_body(frame[STREAM_ID_SIZE:])
        if is_mark and isinstance(message, Heartbeat) and message.is_stale and not lost:
            lost.append(frame)
            return ()
        return (0.0,)

    tree.network.feed_fault = lose_first_mark
    await mux.stop()
    await until(lambda: relay.mach.is_("Stale") and tells(client))
    assert len(lost) == 1


async def test_a_client_of_a_stale_relay_is_fresh_once_it_follows_another(tree: Tree) -> None:
    mux = await tree.serve()
    middle = await tree.relayed(R3)
    first, _ = await tree.relayed(R1, R3), await tree.relayed(R2)
    client = await tree.follow(addr=[R1, R2])
    await middle.stop()
    await until(lambda: first.mach.is_("Stale") and tells(client))
    await first.stop()
    await until(lambda: client.addr == R2 and client.mach.is_("Ready"))
    assert not tells(client)
    await level(mux.source, client)


async def test_mutations_still_travel_up_and_are_refused_there(tree: Tree) -> None:
    mux = await tree.serve()
    await chain(tree)
    client = await tree.follow(addr=R3)
    await mux.stop()
    await until(lambda: tells(client))
    with pytest.raises(NotConnected, match="nothing was"):
        await soon(client.net_mach.add("A"))


async def test_a_relay_below_that_loses_its_stale_upstream_stays_stale(tree: Tree) -> None:
    mux = await tree.serve()
    first = await tree.relayed(R1)
    second = await tree.relayed(R2, R1)
    client = await tree.follow(addr=R2)
    marks: list[bool] = []
    await mux.stop()
    await until(lambda: tells(client))
    client.mach.bind({"StaleEnd": lambda e: marks.append(False)}, id="marks")
    await first.stop()
    await until(lambda: second.clients["src"].mach.not_("Ready"))
    await turns()
    assert second.mach.is_("Stale")
    assert tells(client)
    assert marks == []
    await tree.serve()
    await tree.relayed(R1)
    await until(lambda: second.mach.is_("Ready") and not tells(client))


async def test_a_subscriber_tells_which_of_its_machines_are_stale(tree: Tree) -> None:
    mux = await tree.serve_two()
    relay = await tree.relayed()
    async with Subscriber(R1, transport=tree.network.transport(), **QUICK) as subscriber:
        assert subscriber.mach.not_("Stale")
        relay.clients["two"].mach.add("Disconnected")
        await until(lambda: STALE in subscriber["two"].tags)
        assert STALE not in subscriber["one"].tags
        assert subscriber.mach.is_("Stale", "Ready")
        await until(lambda: subscriber.mach.not_("Stale"))
        assert STALE not in subscriber["two"].tags
        await mux.stop()
        await until(lambda: all(STALE in net.tags for net in subscriber.machines.values()))
        async with Subscriber(R1, transport=tree.network.transport(), **QUICK) as late:
            assert late.mach.is_("Stale")
            assert all(STALE in net.tags for net in late.machines.values())
        await tree.serve_two()
        await until(lambda: not any(net.is_stale for net in subscriber.machines.values()))
        assert subscriber.mach.not_("Stale")


async def test_a_source_with_another_schema_ends_the_mark_below(tree: Tree) -> None:
    mux = await tree.serve()
    relays = await chain(tree)
    await mux.stop()
    again = await tree.serve(Machine({"Else": State()}, id="src"))
    again.source.add("Else")

    await until(lambda: all(relay.machines["src"].has("Else") for relay in relays))
    await until(lambda: all(relay.mach.is_("Ready") for relay in relays))
    client = await tree.follow(addr=R3)
    assert client.net_mach.is_("Else")
    assert not tells(client)
    assert STALE not in relays[-1].infos()[0].tags


async def test_a_replica_that_a_mux_serves_passes_the_mark_on_with_its_next_beat(
    tree: Tree,
) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    middle = await tree.follow(addr=R1)
    async with Mux(middle.net_mach, R2, heartbeat=0.02, transport=tree.network.transport()):
        client = await tree.follow(addr=R2)
        await mux.stop()
        await until(lambda: tells(middle) and tells(client))
        await tree.serve()
        await until(lambda: not tells(middle) and not tells(client))


async def test_heartbeats_of_a_fresh_relay_are_as_before(tree: Tree) -> None:
    await tree.serve()
    await tree.relayed(R1, heartbeat=0.01)
    client = await tree.follow(addr=R1)
    beats: list[bytes] = []

    def watch(frame: bytes) -> tuple[float]:
        if frame[STREAM_ID_SIZE:][:1] == HEARTBEAT_BYTE:
            beats.append(frame[STREAM_ID_SIZE:])
        return (0.0,)

    tree.network.feed_fault = watch
    await until(lambda: len(beats) >= 3)
    number, checksum = client.follower.number, client.follower.reader.checksum
    assert set(beats) == {Heartbeat(number, checksum).body()}
    assert not tells(client)


async def test_a_replica_without_a_connection_is_stale_too(tree: Tree) -> None:
    mux = await tree.serve()
    client = await tree.follow()
    net = client.net_mach
    await mux.stop()
    await until(lambda: net.is_stale)
    assert client.mach.not_("Ready", "Stale"), "there is nobody to say so"
    with pytest.raises(NotConnected):
        await soon(net.add("A"))
    await tree.serve()
    await until(lambda: client.mach.is_("Ready") and not net.is_stale)


def test_heartbeats_of_who_is_not_stale_are_as_short_as_ever() -> None:
    assert len(Heartbeat(1, 2, True).body()) == len(Heartbeat(1, 2).body()) + 1
    assert parse_body(Heartbeat(1, 2, True).body()) == Heartbeat(1, 2, True)
