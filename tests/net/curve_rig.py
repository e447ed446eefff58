"""A source that demands CURVE, its visitors, and somebody on the way between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from amzmq.net import Dealer, ZmqTransport
from amzmq.net.authenticator import AuthenticatorLike
from amzmq.net.keys import Keys
from amzmq.net.zmq_conversation import ZmqRouter
from amzmq.net.zmq_feed import ZmqPublisher

from .rig import PATIENCE_S, QUICK, Ends, until

OPTIONS = replace(QUICK, recheck_ms=10, handshake_ms=300)
SERVER, ALICE, BOB, EVE = (Keys.generate() for _ in range(4))
TOPIC = b"stream-1"
LOCAL = "tcp://127.0.0.1:*"


@dataclass
class Source:
    """A secured router and publisher, and what they were told."""

    transport: ZmqTransport
    router: ZmqRouter
    publisher: ZmqPublisher
    ends: Ends
    askers: list[str]

    def has_heard(self, count: int) -> bool:
        return len(self.ends.at_router) == count

    def turned_away(self) -> int:
        """Connections that were never anybody's; a visitor's two may be under way."""
        handshakes = self.transport.handshakes
        return handshakes.accepted - handshakes.succeeded - 2

    def users(self) -> set[str]:
        return {self.router.user_of(peer) for peer, _, _ in self.ends.at_router}


class Hosts:
    """Makes transports, and closes them at the end of the test."""

    def __init__(self) -> None:
        self.made: list[ZmqTransport] = []

    def client(self, keys: Keys | None, server: Keys | None = SERVER) -> ZmqTransport:
        server_key = None if server is None else server.public
        self.made.append(ZmqTransport(OPTIONS, curve=keys, server_key=server_key))
        return self.made[-1]

    def source(self, authenticator: AuthenticatorLike, address: str = LOCAL) -> Source:
        transport = ZmqTransport(OPTIONS, curve=SERVER, authenticator=authenticator)
        self.made.append(transport)
        ends, askers = Ends(allowed={TOPIC}), list[str]()

        def on_subscribe(topic: bytes) -> bool:
            askers.append(publisher.asker)
            return ends.on_subscribe(topic)

        def on_peer(peer: bytes, frame: bytes, blobs: Sequence[bytes]) -> None:
            ends.on_peer(peer, frame, blobs)
            router.send(peer, b"welcome")

        router = transport.router(address, on_peer)
        feed = address.replace("/a", "/feed") if address.startswith("ipc") else LOCAL
        publisher = transport.publisher(feed, on_subscribe, ends.ended.append, ends.garbage.append)
        return Source(transport, router, publisher, ends, askers)


class Visitor:
    """A dealer and a subscriber that use one transport."""

    def __init__(self, transport: ZmqTransport, source: Source) -> None:
        self.ends = Ends()
        self.dealer = transport.dealer(
            source.router.endpoint, self.ends.on_message, self.ends.edges.append
        )
        self.subscriber = transport.subscriber(source.publisher.endpoint, self.ends.frames.extend)
        self.subscriber.subscribe(TOPIC)

    async def visit(self, source: Source) -> None:
        """Is heard, answered, and fed."""
        await until(lambda: self.dealer.connected and self.dealer.send(b"hello"))
        await until(lambda: self.ends.at_dealer)
        await self.is_fed(source)

    async def is_fed(self, source: Source) -> None:
        seen = len(self.ends.frames)

        def fed() -> bool:
            source.publisher.send(TOPIC + b"!")
            return len(self.ends.frames) > seen

        await until(fed)


def allow(folder: Path, name: str, keys: Keys) -> Path:
    path = folder / f"{name}.pub"
    path.write_text(keys.public)
    return path


async def shut_out(source: Source, transport: ZmqTransport, count: Callable[[], int]) -> None:
    """Lets a visitor knock, at both sockets, until `count` grew by two; he gets nothing."""
    before = count()
    visitor = Visitor(transport, source)
    await until(lambda: count() >= before + 2)
    assert not visitor.dealer.connected
    assert not visitor.dealer.send(b"hello")
    source.publisher.send(TOPIC + b"!")
    assert visitor.ends == Ends()
    assert source.ends.at_router == []
    assert source.ends.asked == []


async def said(dealer: Dealer) -> None:
    """Connects, and says hello."""
    await until(lambda: dealer.connected and dealer.send(b"hello"))


async def all_of(
    reader: asyncio.StreamReader, also: Callable[[bytes], object] = lambda data: None
) -> bytes:
    """Reads until the peer hangs up, politely or not."""
    read = b""
    while True:
        try:
            data = await reader.read(65536)
        except ConnectionError:
            return read
        if not data:
            return read
        also(data)
        read += data


class Tap:
    """Somebody on the way who notes all bytes, and changes one in each piece if `changes`."""

    def __init__(self, endpoint: str) -> None:
        _, _, self.target = endpoint.rpartition(":")
        self.seen = bytearray()
        self.changes = False
        self.connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Tap:
        self.server = await asyncio.start_server(self.on_connection, "127.0.0.1", 0)
        self.endpoint = f"tcp://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        async with asyncio.timeout(PATIENCE_S):
            await self.server.wait_closed()
            await asyncio.gather(*self.connections)

    async def on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        there, on = await asyncio.open_connection("127.0.0.1", int(self.target))
        async with asyncio.TaskGroup() as both:
            both.create_task(self.relay(reader, on))
            both.create_task(self.relay(there, writer))

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def pass_on(data: bytes) -> None:
            self.seen.extend(data)
            writer.write(data[:-1] + bytes([data[-1] ^ 1]) if self.changes else data)

        await all_of(reader, pass_on)
        writer.close()
