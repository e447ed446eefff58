"""Connections that never became anybody's: they are counted, and hold nobody up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from amzmq.errors import AddressInUse
from amzmq.net import Router, ZmqTransport
from amzmq.net.handshakes import HandshakeCounts
from tests.conftest import open_fds

from .rig import PATIENCE_S, QUICK, Ends, until

LOCAL = "tcp://127.0.0.1:*"
MORE_THAN_A_QUEUE = 2_500
"""libzmq's default marks of two ends together are 2,000 messages."""


@pytest.fixture
async def source() -> AsyncIterator[ZmqTransport]:
    made = ZmqTransport(replace(QUICK, handshake_ms=100))
    yield made
    await made.close()


def at(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def opened(source: ZmqTransport, kind: str) -> str:
    """Binds a socket that strangers can reach."""
    ends = Ends()
    if kind == "router":
        return source.router(LOCAL, ends.on_peer).endpoint
    told: tuple[Callable[[bytes], None], ...] = (ends.ended.append, ends.garbage.append)
    return source.publisher(LOCAL, ends.on_subscribe, *told).endpoint


@pytest.mark.parametrize("kind", ["router", "publisher"])
async def test_who_says_nothing_is_counted_once_its_time_is_over(
    source: ZmqTransport, kind: str
) -> None:
    with socket.create_connection(at(opened(source, kind))) as silent:
        await until(lambda: source.handshakes == HandshakeCounts(1, 0, 1))
        silent.settimeout(PATIENCE_S)
        while silent.recv(1024):
            pass  # the greeting, and the end


@pytest.mark.parametrize("kind", ["router", "publisher"])
async def test_who_goes_at_once_is_counted(source: ZmqTransport, kind: str) -> None:
    address = at(opened(source, kind))
    for _ in range(3):
        socket.create_connection(address).close()
    await until(lambda: source.handshakes == HandshakeCounts(3, 0, 3))


async def test_who_speaks_another_language_never_succeeds(source: ZmqTransport) -> None:
    with socket.create_connection(at(opened(source, "router"))) as stranger:
        stranger.sendall(b"\xff" * 64)
        stranger.settimeout(PATIENCE_S)
        while await asyncio.to_thread(stranger.recv, 1024):
            pass  # the greeting, and the end
        await until(lambda: source.handshakes.accepted == 1)
        assert source.handshakes.succeeded == 0


async def test_who_gets_in_has_succeeded_and_may_leave(source: ZmqTransport) -> None:
    ends, mine = Ends(), Ends()
    router = source.router(LOCAL, ends.on_peer)
    client = ZmqTransport(QUICK)
    dealer = client.dealer(router.endpoint, mine.on_message, mine.edges.append)
    await until(lambda: dealer.connected and dealer.send(b"hello"))
    await until(lambda: ends.at_router)
    await client.close()
    socket.create_connection(at(router.endpoint)).close()
    await until(lambda: source.handshakes.unfinished == 1)
    assert source.handshakes == HandshakeCounts(2, 1, 1)


def knocked(router: Router) -> None:
    """So many strangers, one after the other, while the event loop stands still."""
    for _ in range(MORE_THAN_A_QUEUE):
        socket.create_connection(at(router.endpoint)).close()


async def test_more_than_a_queue_holds_are_all_counted(source: ZmqTransport) -> None:
    knocked(source.router(LOCAL, Ends().on_peer))
    all_of_them = HandshakeCounts(MORE_THAN_A_QUEUE, 0, MORE_THAN_A_QUEUE)
    await until(lambda: source.handshakes == all_of_them)


@pytest.mark.parametrize("way", ["close", "let_go"])
async def test_a_socket_ends_while_strangers_knock(source: ZmqTransport, way: str) -> None:
    router = source.router(LOCAL, Ends().on_peer)
    knocked(router)
    async with asyncio.timeout(PATIENCE_S):
        if way == "let_go":
            await router.let_go()
        router.close()
        await source.close()


async def test_what_cannot_be_bound_leaves_no_monitor(source: ZmqTransport) -> None:
    taken = source.router(LOCAL, Ends().on_peer)
    before = len(open_fds())
    for _ in range(5):
        with pytest.raises(AddressInUse):
            source.router(taken.endpoint, Ends().on_peer)
    await until(lambda: len(open_fds()) <= before)
