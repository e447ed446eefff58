"""A goodbye comes another way than the changes before it, and is not taken for their end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from amzmq.net.faults import Fault
from amzmq.rpc import Client, Mux, Subscriber
from amzmq.rpc.client import farewell
from amzmq.rpc.client.farewell import Farewell
from amzmq.rpc.replica.follower import Awaiting, Follower
from amzmq.wire.codec import Value
from tests.rpc.rig import ADDR, QUICK, World, clock_of, level, machine, soon, until
from tests.rpc.virtual_time import in_virtual_time


def late(frame: bytes) -> Sequence[float]:
    """The feed is slower than the conversation, but not too slow."""
    return (0.05,)


def never(frame: bytes) -> Sequence[float]:
    return ()


async def ended(mux: Mux, client: Client | Subscriber) -> None:
    """The source says its last, and goodbye."""
    for source in mux.sources.values():
        source.add("Multi")
    await soon(mux.stop())
    await until(lambda: client.mach.not_("Connected"))


@pytest.mark.parametrize(("fault", "asked"), [(late, 0), (never, 1)], ids=["late", "lost"])
async def test_the_last_change_is_seen_although_the_goodbye_is_faster(
    world: World, fault: Fault, asked: int
) -> None:
    mux = await world.serve()
    source = mux.source
    client = await world.follow(reconnect=False)
    world.network.feed_fault = fault
    await ended(mux, client)
    assert clock_of(client.net_mach) == clock_of(source)
    assert client.metrics()["resyncs"] == asked


async def test_each_client_of_a_shared_stream_takes_its_time(world: World) -> None:
    mux = await world.serve()
    source = mux.source
    clients = [await world.follow(f"c{n}", reconnect=False) for n in range(3)]
    world.network.feed_fault = late
    await ended(mux, clients[0])
    await until(lambda: all(client.mach.not_("Connected") for client in clients))
    assert {clock_of(client.net_mach) for client in clients} == {clock_of(source)}


async def test_a_subscriber_sees_the_last_change_of_each_machine(world: World) -> None:
    others = [machine(f"m{n}") for n in range(3)]
    mux = await world.serve()
    for other in others:
        mux.serve(other)
    subscriber = Subscriber(ADDR, transport=world.network.transport(), **QUICK)
    async with subscriber:
        world.network.feed_fault = late
        await ended(mux, subscriber)
        for source in (mux.source, *others):
            assert clock_of(subscriber.machines[source.id]) == clock_of(source)


async def test_it_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farewell, "FAREWELL_WAIT", 0.01)  # less than it takes to ask
    mux = await world.serve()
    client = await world.follow(reconnect=False)
    world.network.feed_fault = never
    await ended(mux, client)
    assert client.net_mach.tick("Multi") == 0


async def test_who_stops_meanwhile_is_not_held_up(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    world.network.feed_fault = never
    mux.source.add("Multi")
    stopping = asyncio.create_task(mux.stop())
    await until(lambda: client.conversation._farewell is not None)
    await soon(client.stop())
    await soon(stopping)
    assert client.mach.is_disposed


async def test_a_machine_that_is_served_no_longer_is_left_at_its_last(world: World) -> None:
    mux = await world.serve()
    other = machine("other")
    mux.serve(other)
    client = await world.follow(machine="other", reconnect=False)
    await level(other, client)
    world.network.feed_fault = late
    other.add("Multi")
    mux.unserve("other")
    await until(lambda: client.mach.not_("Connected"))
    assert clock_of(client.net_mach) == clock_of(other)


# The wait itself.


class Stream:
    """A follower, as far as a goodbye is concerned."""

    def __init__(self, stream_id: bytes, number: int) -> None:
        self.stream_id = stream_id
        self.number = number
        self.expected: list[int] = []
        self.awaiting: list[Awaiting] = []

    def await_number(self, awaiting: Awaiting) -> None:
        self.awaiting.append(awaiting)

    def expect(self, head: int) -> None:
        self.expected.append(head)

    def moves(self, number: int) -> None:
        self.number = number
        self.awaiting = [each for each in self.awaiting if each.applied(number)]


def goodbye(heads: list[Value], *streams: Stream) -> tuple[Farewell, list[float]]:
    """A goodbye, and when it was heard."""
    heard: list[float] = []
    now = asyncio.get_running_loop().time
    followers = cast(list[Follower], list(streams))
    return Farewell(heads, followers, lambda: heard.append(now())), heard


@in_virtual_time
async def test_it_is_heard_at_once_if_all_is_here() -> None:
    one, two = Stream(b"one", 7), Stream(b"two", 0)
    _, heard = goodbye([[b"one", 7], [b"other", 9], "later versions"], one, two)
    assert len(heard) == 1
    assert (one.awaiting, two.awaiting) == ([], [])
    await asyncio.sleep(1)
    assert len(heard) == 1


@in_virtual_time
async def test_it_is_heard_once_the_last_of_all_streams_is_here() -> None:
    one, two = Stream(b"one", 5), Stream(b"two", -1)
    _, heard = goodbye([[b"one", 7], [b"two", 1]], one, two)
    assert (one.expected, two.expected) == ([7], [1])
    one.moves(6)
    two.moves(1)
    assert heard == []
    one.moves(7)
    assert len(heard) == 1
    assert (one.awaiting, two.awaiting) == ([], [])
    await asyncio.sleep(1)
    assert len(heard) == 1


@in_virtual_time
async def test_it_is_heard_when_the_time_is_over_and_what_comes_later_is_nothing_new() -> None:
    stream = Stream(b"one", 5)
    began = asyncio.get_running_loop().time()
    _, heard = goodbye([[b"one", 7]], stream)
    await asyncio.sleep(1)
    assert heard == [pytest.approx(began + 0.3)]
    stream.moves(9)
    assert len(heard) == 1
    assert stream.awaiting == []


@in_virtual_time
async def test_one_that_was_cancelled_is_never_heard() -> None:
    stream = Stream(b"one", 5)
    leaving, heard = goodbye([[b"one", 7]], stream)
    leaving.cancel()
    leaving.cancel()
    stream.moves(7)
    await asyncio.sleep(1)
    assert heard == []
