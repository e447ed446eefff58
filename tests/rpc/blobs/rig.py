"""A store and its fetchers on a link that may fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from amzmq.errors import NotConnected
from amzmq.rpc.blobdesk import BlobDesk
from amzmq.rpc.blobs.blobstore import BlobStore, Offer
from amzmq.rpc.blobs.fetcher import Fetcher
from amzmq.rpc.blobs.offer import Blob
from amzmq.rpc.blobs.transit import Transit
from amzmq.wire.control import Chunk, Fetch, Message, Refusal
from amzmq.wire.control_frames import from_frame, to_frame

CHUNK = 1000
DATA = random.Random(5).randbytes(20 * CHUNK + 17)


class Link:
    """One client's connection to a store, or to whoever hands on what that has.

    Attributes:
        connected: Whether anything passes.
        fault: What becomes of a message on its way down: how many of it arrive.
        seen: Everything that came down.
        asked: Everything that went up.
    """

    def __init__(
        self, store: BlobDesk, name: str = "rc-a", understood: Sequence[str] = (), **options: Any
    ) -> None:
        self.store = store
        self.key = name, b"incarnation", ""
        self.understood = understood
        self.connected = True
        self.fault: Callable[[Message], int] = lambda message: 1
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self.seen: list[Message] = []
        self.asked: list[Fetch] = []
        options.setdefault("stall_timeout", 60.0)  # only where a test is about stalls are there any
        self.fetcher = Fetcher(self._up, **options)
        self._loop = asyncio.get_running_loop()

    def offered(self, offer: Offer, name: str = "model") -> Blob:
        return self.fetcher.offer(name, offer.token, offer.facts)

    def cut(self) -> None:
        """The connection is lost, and what is on its way with it."""
        self.connected = False
        self.store.forget(self.key)

    def join(self) -> None:
        self.connected = True
        self.fetcher.reconnected()

    def _up(self, fetch: Fetch) -> bool:
        if not self.connected:
            return False
        self.asked.append(fetch)
        self._loop.call_soon(self._arrive_up, to_frame(fetch))
        return True

    def _arrive_up(self, frame: bytes) -> None:
        message = from_frame(frame)
        assert isinstance(message, Fetch)
        if self.connected:
            self.store.on_fetch(self.key, message, self._down, self.understood)

    def _down(self, message: Chunk | Refusal, blobs: Sequence[bytes]) -> bool:
        if not self.connected:
            return False
        frame = to_frame(message)
        for _ in range(self.fault(message)):
            self._loop.call_soon(self._arrive_down, frame, tuple(map(self.damage, blobs)))
        return True

    def _arrive_down(self, frame: bytes, blobs: tuple[bytes, ...]) -> None:
        message = from_frame(frame)
        if not self.connected:
            return
        self.seen.append(message)
        self._deliver(message, blobs)

    def _deliver(self, message: Message, blobs: tuple[bytes, ...]) -> None:
        if isinstance(message, Chunk):
            self.fetcher.on_chunk(message, blobs[0])
        else:
            assert isinstance(message, Refusal)
            assert message.token
            self.fetcher.on_refused(message.token, message.reason)


class Hop(Link):
    """A node between: what it asks of a store, or of another hop, it hands on.

    Attributes:
        transit: What those below it ask.
    """

    def __init__(self, store: BlobDesk, name: str = "rc-hop", **options: Any) -> None:
        timeout = options.pop("answer_timeout", 60.0)
        super().__init__(store, name, **options)
        self.transit = Transit(self._up, timeout)

    def join(self) -> None:
        self.connected = True
        self.transit.reconnected()

    def _deliver(self, message: Message, blobs: tuple[bytes, ...]) -> None:
        if isinstance(message, Chunk):
            self.transit.on_chunk(message, blobs[0])
        else:
            assert isinstance(message, Refusal)
            self.transit.on_refused(message)


def end(fetcher: Fetcher) -> None:
    fetcher.end(NotConnected("the client was stopped"))


class Net:
    """A store and its links until the end of the test."""

    def __init__(self) -> None:
        self.store = BlobStore()
        self.links: list[Link] = []
        self.hops: list[Hop] = []

    def link(self, *args: Any, below: Hop | None = None, **options: Any) -> Link:
        link = Link(self.store if below is None else below.transit, *args, **options)
        self.links.append(link)
        return link

    def hop(self, *args: Any, below: Hop | None = None, **options: Any) -> Hop:
        hop = Hop(self.store if below is None else below.transit, *args, **options)
        self.hops.append(hop)
        return hop

    async def offer(self, data: Any = DATA, **options: Any) -> Offer:
        return self.store.offer(await self.store.prepare(data, CHUNK), **options)


def chunks_seen(link: Link) -> list[int]:
    return [m.offset for m in link.seen if isinstance(m, Chunk) and m.size]


async def rest_of(blob: Blob) -> bytes:
    """What is left of a blob."""
    return b"".join([chunk async for chunk in blob])
