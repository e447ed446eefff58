"""Router and dealer: what holds on every transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from amzmq.errors import AddressInUse, AddressInvalid, NetError
from amzmq.net import Delivery

from .conftest import Ends, World, until


async def test_a_message_travels_both_ways_with_its_blobs(world: World, ends: Ends) -> None:
    router = world.source.router(world.any_address, ends.on_peer)
    dealer = world.client.dealer(router.endpoint, ends.on_message, ends.edges.append)
    assert not dealer.connected
    await until(lambda: dealer.connected)
    assert dealer.send(b"up")
    assert dealer.send(b"up2", (b"x", b"", b"z" * 100_000))
    await until(lambda: len(ends.at_router) == 2)
    peer = ends.at_router[0][0]
    assert ends.at_router == [(peer, b"up", ()), (peer, b"up2", (b"x", b"", b"z" * 100_000))]
    assert router.send(peer, b"down", (b"b",)) is Delivery.SENT
    assert router.send(peer, b"", ()) is Delivery.SENT
    await until(lambda: len(ends.at_dealer) == 2)
    assert ends.at_dealer == [(b"down", (b"b",)), (b"", ())]


async def test_messages_keep_their_order(world: World, ends: Ends) -> None:
    router = world.source.router(world.any_address, ends.on_peer)
    dealer = world.client.dealer(router.endpoint, ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    sent = [b"%d" % n for n in range(1000)]
    assert all(dealer.send(frame) for frame in sent)
    await until(lambda: len(ends.at_router) == len(sent))
    assert [frame for _, frame, _ in ends.at_router] == sent


async def test_a_dealer_without_a_router_queues_nothing(world: World, ends: Ends) -> None:
    router = world.source.router(world.any_address, ends.on_peer)
    address = router.endpoint
    # A closed socket listens a moment longer; a closed transport does not.
    await world.source.close()
    dealer = world.client.dealer(address, ends.on_message, ends.edges.append)
    assert not dealer.send(b"lost")
    await asyncio.sleep(0)
    assert not dealer.send(b"lost", (b"blob",))
    assert ends.edges == []


async def test_an_unknown_peer_is_gone(world: World, ends: Ends) -> None:
    router = world.source.router(world.any_address, ends.on_peer)
    assert router.send(b"\x00nobd", b"frame") is Delivery.GONE
    assert router.send(b"\x00nobd", b"frame", (b"blob",)) is Delivery.GONE


async def test_a_closed_dealer_is_gone_and_the_next_has_another_id(
    world: World, ends: Ends
) -> None:
    router = world.source.router(world.any_address, ends.on_peer)
    for _ in range(2):
        dealer = world.client.dealer(router.endpoint, ends.on_message, ends.edges.append)
        await until(lambda: dealer.connected)  # noqa: B023
        dealer.send(b"hello")
        count = len(ends.at_router) + 1
        await until(lambda: len(ends.at_router) == count)  # noqa: B023
        dealer.close()
    first, second = (peer for peer, _, _ in ends.at_router)
    assert first != second
    await until(lambda: router.send(second, b"?") is Delivery.GONE)


async def test_the_death_and_the_return_of_a_router_are_seen(world: World, ends: Ends) -> None:
    router = world.source.router(world.any_address, ends.on_peer)
    address = router.endpoint
    dealer = world.client.dealer(address, ends.on_message, ends.edges.append)
    await until(lambda: ends.edges == [True])
    dealer.send(b"first")
    await until(lambda: len(ends.at_router) == 1)
    router.close()
    await until(lambda: ends.edges == [True, False])
    assert not dealer.connected
    assert not dealer.send(b"into the void")

    def bind_again() -> bool:
        # A closed socket's port is given back by another thread, a little later.
        try:
            world.source.router(address, ends.on_peer)
        except AddressInUse:
            return False
        return True

    await until(bind_again)
    await until(lambda: ends.edges == [True, False, True])
    assert dealer.send(b"second")
    await until(lambda: len(ends.at_router) == 2)
    assert ends.at_router[0][0] != ends.at_router[1][0]


async def test_a_failing_callback_is_logged_and_the_next_frame_arrives(
    world: World, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    def on_peer(peer: bytes, frame: bytes, blobs: Sequence[bytes]) -> None:
        if frame == b"bad":
            raise ValueError("no good")
        ends.on_peer(peer, frame, blobs)

    def on_connected(connected: bool) -> None:
        ends.edges.append(connected)
        raise ValueError("nor this")

    router = world.source.router(world.any_address, on_peer)
    dealer = world.client.dealer(router.endpoint, ends.on_message, on_connected)
    with caplog.at_level(logging.ERROR, logger="amzmq.net"):
        await until(lambda: dealer.connected)
        for frame in (b"bad", b"good", b"bad", b"good"):
            dealer.send(frame)
        await until(lambda: len(ends.at_router) == 2)
    said = [record.getMessage() for record in caplog.records]
    assert sum("on_message raised" in line for line in said) == 2
    assert sum("on_connected raised" in line for line in said) == 1


async def test_closing_inside_a_callback_stops_at_that_frame(world: World, ends: Ends) -> None:
    def on_peer(peer: bytes, frame: bytes, blobs: Sequence[bytes]) -> None:
        ends.on_peer(peer, frame, blobs)
        router.close()
        router.close()

    router = world.source.router(world.any_address, on_peer)
    dealer = world.client.dealer(router.endpoint, ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    for _ in range(10):
        dealer.send(b"x")
    await until(lambda: ends.edges == [True, False])
    assert len(ends.at_router) == 1
    assert router.send(ends.at_router[0][0], b"late") is Delivery.GONE


async def test_closing_inside_on_connected_is_legal(world: World, ends: Ends) -> None:
    def on_connected(connected: bool) -> None:
        ends.edges.append(connected)
        dealer.close()

    router = world.source.router(world.any_address, ends.on_peer)
    dealer = world.client.dealer(router.endpoint, ends.on_message, on_connected)
    await until(lambda: ends.edges)
    assert not dealer.connected
    assert not dealer.send(b"late")


async def test_a_taken_address_is_refused_by_name(world: World, ends: Ends) -> None:
    router = world.source.router(world.any_address, ends.on_peer)
    with pytest.raises(AddressInUse, match="in use") as caught:
        world.client.router(router.endpoint, ends.on_peer)
    assert router.endpoint in str(caught.value)
    # And the first one still answers.
    dealer = world.client.dealer(router.endpoint, ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)


@pytest.mark.parametrize("address", ["", "localhost:7701", "tcp://"])
async def test_a_malformed_address_is_refused_with_an_example(
    world: World, ends: Ends, address: str
) -> None:
    with pytest.raises(AddressInvalid, match="tcp://127.0.0.1:7701"):
        world.source.router(address, ends.on_peer)
    with pytest.raises(AddressInvalid, match="tcp://127.0.0.1:7701"):
        world.client.dealer(address, ends.on_message, ends.edges.append)


async def test_a_closed_transport_makes_no_sockets(world: World, ends: Ends) -> None:
    router = world.source.router(world.any_address, ends.on_peer)
    await world.source.close()
    await world.source.close()
    router.close()
    with pytest.raises(NetError, match="closed"):
        world.source.router(world.any_address, ends.on_peer)
