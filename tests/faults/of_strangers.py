"""Faults made by others: who speaks no ZeroMQ, another protocol, or too much of this one."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

from amzmq.errors import AmzmqError
from amzmq.net import SocketOptions, ZmqTransport
from amzmq.net.keys import Keys
from amzmq.rpc import Client
from amzmq.wire.control import Hello, Mutate, Ping, Refusal
from amzmq.wire.control_frames import from_frame, to_frame
from amzmq.wire.view import View
from tests.faults.lab import Lab
from tests.faults.registry import fault

PATIENCE_S = 5.0


@contextlib.asynccontextmanager
async def _connections(addr: str, count: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Plain TCP connections."""
    host, port = addr.removeprefix("tcp://").split(":")
    pairs = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    writers = [writer for _, writer in pairs]
    try:
        yield writers
    finally:
        for writer in writers:
            writer.close()
        closed = (writer.wait_closed() for writer in writers)
        await asyncio.gather(*closed, return_exceptions=True)  # the source may have reset them


@contextlib.asynccontextmanager
async def _stranger(lab: Lab) -> AsyncIterator[ZmqTransport]:
    transport = ZmqTransport(SocketOptions(reconnect_ms=10))
    try:
        yield transport
    finally:
        await transport.close()


async def _say(lab: Lab, *frames: bytes) -> list[object]:
    """Say something to the source; what it answered within a moment."""
    heard: list[object] = []
    async with _stranger(lab) as transport:
        connected = asyncio.Event()
        dealer = transport.dealer(
            lab.source.hello["addr"],
            lambda frame, blobs: heard.append(from_frame(frame)),
            lambda on: connected.set() if on else None,
        )
        async with asyncio.timeout(PATIENCE_S):
            await connected.wait()
        for frame in frames:
            dealer.send(frame)
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)
    return heard


@fault("stranger: random bytes on both ports")
async def bytes_that_are_no_zmq(lab: Lab) -> None:
    rng = random.Random(3)
    for addr in (lab.source.hello["addr"], lab.source.hello["feed"]):
        async with _connections(addr, 10) as writers:
            for writer in writers:
                writer.write(rng.randbytes(20_000))
            await asyncio.sleep(0.2)


@fault("stranger: 100 connections that never finish their handshake")
async def slow_handshakes(lab: Lab) -> None:
    for addr in (lab.source.hello["addr"], lab.source.hello["feed"]):
        async with _connections(addr, 100) as writers:
            for byte in b"\xff\x00\x00":
                for writer in writers:
                    writer.write(bytes([byte]))
                await asyncio.sleep(0.3)


@fault("stranger: frames that are no messages", "garbage", quick=True)
async def frames_that_are_no_messages(lab: Lab) -> None:
    rng = random.Random(5)
    await _say(lab, *(rng.randbytes(rng.randrange(1, 200)) for _ in range(500)))


@fault("stranger: a request of 3 MB", "oversized")
async def oversized_requests(lab: Lab) -> None:
    await _say(lab, *([b"\x90" * 3_000_000] * 3))


@fault("stranger: an older protocol", "refused")
async def older_protocol(lab: Lab) -> None:
    hello = Hello(0, "rc-old", b"x" * 8, b"", "", View().value(), [])
    heard = await _say(lab, to_frame(hello))
    if not heard or not isinstance(heard[0], Refusal):
        raise AssertionError(f"an older protocol was answered {heard}")


@fault("stranger: requests without a session")
async def requests_without_a_session(lab: Lab) -> None:
    mutation = Mutate(1, 0, [0], None, 0, None)
    heard = await _say(lab, *([to_frame(mutation), to_frame(Ping(0, 0))] * 20))
    if not any(isinstance(one, Refusal) for one in heard):
        raise AssertionError(f"a stranger was answered {heard[:3]}")


@fault("stranger: a client with another one's name", "hellos", quick=True)
async def identity_taken(lab: Lab) -> None:
    async with _stranger(lab) as transport:
        async with Client(lab.source.hello["addr"], "f1", transport=transport) as client:
            await client.sync()


@fault("stranger: a Hello with another one's name, 200 times", "hellos")
async def hello_storm(lab: Lab) -> None:
    rng = random.Random(9)
    frames = [
        to_frame(Hello(1, "rc-c1", rng.randbytes(8), b"", "", View().value(), []))
        for _ in range(200)
    ]
    await _say(lab, *frames)


@fault("stranger: 2,000 subscriptions of what there is not", "garbage")
async def subscription_storm(lab: Lab) -> None:
    rng = random.Random(11)
    async with _stranger(lab) as transport:
        subscriber = transport.subscriber(lab.source.hello["feed"], lambda frame: None)
        for _ in range(2000):
            subscriber.subscribe(rng.randbytes(rng.choice([0, 3, 8])))
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)


@fault("stranger: CURVE with the wrong key of the source", secured=True)
async def wrong_key_of_the_source(lab: Lab) -> None:
    keys = Path(lab.keys)
    await _must_not_get_in(lab, ZmqTransport(
        SocketOptions(reconnect_ms=10),
        curve=Keys.load(keys / "client.key"),
        server_key=keys / "stranger.pub",
    ))  # fmt: skip


@fault("stranger: no key at all", secured=True)
async def no_key(lab: Lab) -> None:
    await _must_not_get_in(lab, ZmqTransport(SocketOptions(reconnect_ms=10)))


async def _must_not_get_in(lab: Lab, transport: ZmqTransport) -> None:
    client = Client(
        lab.source.hello["addr"], "stranger", transport=transport,
        conn_timeout=0.5, conn_retries=1, conn_retry_delay=0.1,
    )  # fmt: skip
    try:
        async with client:
            raise AssertionError("a stranger got in")
    except AmzmqError:
        return  # as it should be
    finally:
        await transport.close()
