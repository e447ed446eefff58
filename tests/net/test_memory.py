"""What the memory network adds: faults, counts, partitions, the same run for the same seed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from amzmq.errors import NetError
from amzmq.net import Delivery, MemoryNetwork, RandomFaults

from .conftest import Ends, until


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork(seed=7)


async def connected(network: MemoryNetwork, ends: Ends) -> tuple[object, object]:
    transport = network.transport()
    router = transport.router("mem://a", ends.on_peer)
    dealer = transport.dealer("mem://a", ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    return router, dealer


async def test_a_fault_drops_repeats_and_delays_what_it_says(
    network: MemoryNetwork, ends: Ends
) -> None:
    plan: dict[bytes, Sequence[float]] = {
        b"dropped": (),
        b"twice": (0.0, 0.0),
        b"late": (0.01,),
        b"plain": (0.0,),
    }
    network.control_fault = plan.__getitem__
    transport = network.transport()
    transport.router("mem://a", ends.on_peer)
    dealer = transport.dealer("mem://a", ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    for frame in plan:
        assert dealer.send(frame)
    await until(lambda: len(ends.at_router) == 4)
    assert [f for _, f, _ in ends.at_router] == [b"twice", b"twice", b"plain", b"late"]
    counts = network.counts
    assert (counts.dropped, counts.repeated, counts.delayed, counts.cut) == (1, 1, 1, 0)


async def test_feed_faults_are_each_subscribers_own(network: MemoryNetwork, ends: Ends) -> None:
    ends.allowed = {b"T"}
    transport = network.transport()
    pub = transport.publisher("mem://p", ends.on_subscribe, ends.ended.append, ends.garbage.append)
    got: list[list[bytes]] = [[], []]
    for frames in got:
        transport.subscriber("mem://p", frames.extend).subscribe(b"T")
    await until(lambda: len(ends.asked) == 2)
    network.feed_fault = RandomFaults(1, drop=0.5)
    for n in range(200):
        pub.send(b"T%d" % n)
    network.feed_fault = None
    pub.send(b"Tend")
    await until(lambda: all(frames and frames[-1] == b"Tend" for frames in got))
    assert got[0] != got[1]
    assert network.counts.dropped == 402 - len(got[0]) - len(got[1])


def test_random_faults_repeat_themselves_for_a_seed() -> None:
    def run(seed: int) -> list[Sequence[float]]:
        faults = RandomFaults(seed, drop=0.2, repeat=0.2, delay=0.5, max_delay=0.1)
        return [faults(b"") for _ in range(500)]

    assert run(3) == run(3)
    assert run(3) != run(4)
    fates = run(3)
    assert {len(fate) for fate in fates} == {0, 1, 2}
    assert all(0.0 <= delay <= 0.1 for fate in fates for delay in fate)


async def test_a_partition_cuts_everything_and_heals(network: MemoryNetwork, ends: Ends) -> None:
    ends.allowed = {b"T"}
    transport = network.transport()
    router = transport.router("mem://a", ends.on_peer)
    pub = transport.publisher("mem://p", ends.on_subscribe, ends.ended.append, ends.garbage.append)
    dealer = transport.dealer("mem://a", ends.on_message, ends.edges.append)
    transport.subscriber("mem://p", ends.frames.extend).subscribe(b"T")
    await until(lambda: dealer.connected and ends.asked)
    dealer.send(b"hello")
    await until(lambda: ends.at_router)
    old_peer = ends.at_router[0][0]

    dealer.send(b"on the way")
    pub.send(b"T on the way")
    network.partition(True)
    assert network.partitioned
    await until(lambda: ends.edges == [True, False] and ends.ended == [b"T"])
    assert not dealer.send(b"cut")
    assert router.send(old_peer, b"cut") is Delivery.GONE
    pub.send(b"T cut")
    late = transport.dealer("mem://a", ends.on_message, lambda connected: None)

    network.partition(False)
    await until(lambda: ends.edges == [True, False, True] and late.connected)
    await until(lambda: ends.asked == [b"T", b"T"])
    pub.send(b"T healed")
    dealer.send(b"healed")
    await until(lambda: ends.frames and len(ends.at_router) == 2)
    assert ends.frames == [b"T healed"]
    assert [frame for _, frame, _ in ends.at_router] == [b"hello", b"healed"]
    assert ends.at_router[1][0] != old_peer
    assert network.counts.cut == 2


async def test_a_short_partition_still_shows_both_edges(network: MemoryNetwork, ends: Ends) -> None:
    await connected(network, ends)
    network.partition(True)
    network.partition(False)
    await until(lambda: ends.edges == [True, False, True])


async def test_a_peer_at_its_limit_is_full_until_it_reads(
    network: MemoryNetwork, ends: Ends
) -> None:
    transport = network.transport()
    router = transport.router("mem://a", ends.on_peer)
    dealer = transport.dealer("mem://a", ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    network.peer_limit = 2
    assert [dealer.send(b"x") for _ in range(3)] == [True, True, False]
    await until(lambda: len(ends.at_router) == 2)
    peer = ends.at_router[0][0]
    sent = [router.send(peer, b"x") for _ in range(3)]
    assert sent == [Delivery.SENT, Delivery.SENT, Delivery.FULL]
    await until(lambda: len(ends.at_dealer) == 2)
    assert router.send(peer, b"x") is Delivery.SENT
    assert dealer.send(b"x")


async def test_injected_garbage_is_told(network: MemoryNetwork, ends: Ends) -> None:
    transport = network.transport()
    transport.publisher("mem://p", ends.on_subscribe, ends.ended.append, ends.garbage.append)
    network.inject_garbage("mem://p", b"what")
    await until(lambda: ends.garbage == [b"what"])


async def test_nothing_is_left_on_the_network_after_closing(
    network: MemoryNetwork, ends: Ends
) -> None:
    transport = network.transport()
    transport.router("mem://a", ends.on_peer)
    pub = transport.publisher("mem://p", lambda topic: True, ends.ended.append, ends.garbage.append)
    dealer = transport.dealer("mem://a", ends.on_message, ends.edges.append)
    sub = transport.subscriber("mem://p", ends.frames.extend)
    sub.subscribe(b"T")
    await until(lambda: dealer.connected and pub.asked)
    sub.unsubscribe(b"T")
    await until(lambda: not pub.asked)
    await transport.close()
    await transport.close()
    await asyncio.sleep(0)
    assert not network.routers
    assert not network.publishers
    assert not any(network.dealers.values())
    assert not any(network.subscribers.values())
    with pytest.raises(NetError):
        transport.dealer("mem://a", ends.on_message, ends.edges.append)
