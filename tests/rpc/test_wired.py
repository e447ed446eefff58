"""Real sockets in one process: what is too large for a frame, and goodbyes on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from amzmq.errors import AmzmqError, FrameTooLarge
from amzmq.machine import Machine, Result
from amzmq.net import SocketOptions, ZmqTransport
from amzmq.rpc import Client, Limits, Mux

from .rig import QUICK, Payloads, level, machine, soon, until

LIMIT = 20_000
OPTIONS = SocketOptions(reconnect_ms=10, reconnect_max_ms=40, linger_ms=50, max_frame_bytes=LIMIT)


class Wired:
    """A source on TCP, and its clients."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.mux: Mux

    async def serve(self, source: Machine, **options: Any) -> Mux:
        self.mux = Mux(source, transport=ZmqTransport(OPTIONS), **options)
        await self._stack.enter_async_context(self.mux)
        return self.mux

    async def follow(self, name: str = "", **options: Any) -> Client:
        client = Client(
            self.mux.addr, name=name, transport=ZmqTransport(OPTIONS), **(QUICK | options)
        )
        async with asyncio.timeout(10):
            await self._stack.enter_async_context(client)
        return client


@pytest.fixture
async def wired() -> AsyncIterator[Wired]:
    async with AsyncExitStack() as stack:
        yield Wired(stack)


def deafen(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client hears nothing of the feed until the patch is undone."""
    follower = client.follower
    push = follower._push
    monkeypatch.setattr(follower, "_push", lambda data, start=0: 0 if start else push(data, start))


async def test_what_a_client_missed_may_be_larger_than_a_frame(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux = await wired.serve(machine(), heartbeat=0.1)
    client = await wired.follow(call_timeout=0.5)
    taken = Payloads(client)
    with monkeypatch.context() as patch:
        deafen(client, patch)
        for n in range(100):
            mux.source.toggle("A")
            mux.send_payload("n", b"%d" % n + b"x" * 1000)
            await asyncio.sleep(0)
    await level(mux.source, client)
    metrics = client.metrics()
    assert metrics["payloads"] + metrics["payloads_lost"] == 100
    assert len(taken.all) == metrics["payloads"]
    assert metrics["connects"] == 1


async def test_what_a_reply_carries_may_be_larger_than_a_frame(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    mux = await wired.serve(machine(), heartbeat=0.1)
    client = await wired.follow(call_timeout=0.5)
    with monkeypatch.context() as patch:
        deafen(client, patch)
        for n in range(50):
            mux.send_payload("n", b"%d" % n + b"x" * 1000)
        assert await soon(client.net_mach.add("A")) == Result.EXECUTED
        assert client.net_mach.is_("A")


async def test_a_payload_larger_than_a_frame_is_refused_and_harms_nobody(wired: Wired) -> None:
    mux = await wired.serve(machine(), heartbeat=0.1)
    client = await wired.follow("one", call_timeout=0.5)
    taken = Payloads(client)
    for destination in (None, "one"):
        with pytest.raises(FrameTooLarge):
            mux.send_payload("large", b"x" * LIMIT, destination=destination)
    mux.send_payload("small", 1)
    mux.source.add("A")
    await level(mux.source, client)
    assert [payload.name for payload in taken.all] == ["small"]
    assert client.metrics()["gaps"] == 0
    assert client.metrics()["connects"] == 1


async def test_a_request_larger_than_a_frame_is_refused_at_once(wired: Wired) -> None:
    await wired.serve(machine())
    client = await wired.follow()
    with pytest.raises(FrameTooLarge):
        await soon(client.net_mach.add("A", blob=b"x" * LIMIT))
    assert len(client.calls) == 0
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED


async def test_a_request_larger_than_the_source_reads_fails_soon_and_says_why(
    wired: Wired,
) -> None:
    await wired.serve(machine(), limits=Limits(request_bytes=1000))
    client = await wired.follow()
    with pytest.raises(AmzmqError, match=r"1000|large"):
        async with asyncio.timeout(2.0):
            await client.net_mach.add("A", blob=b"x" * 2000)


async def test_a_source_that_stops_says_goodbye(
    wired: Wired, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await wired.serve(machine())
    clients = [await wired.follow() for _ in range(8)]
    with caplog.at_level("INFO", "amzmq.client"):
        await mux.stop("maintenance")
        await until(lambda: not any(client.mach.is_("Ready") for client in clients))
    # None of them may see the end of the connection before the words that came over it.
    assert caplog.text.count("said goodbye: maintenance") == 8


async def test_a_client_that_stops_says_goodbye(wired: Wired) -> None:
    mux = await wired.serve(machine(), heartbeat=1000.0)
    client = await wired.follow()
    await client.stop()
    await until(lambda: not mux.clients)
    assert mux.counters.expired == 0
