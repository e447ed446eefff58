"""Blobs at the source: what is offered, and the chunks that clients ask for.

One task reads chunk after chunk, on a thread, so a slow disk holds up no heartbeat; the clients
take turns. Nothing is sent that was not asked for, and nothing is remembered of a client but how
far it is.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from amzmq.errors import AmzmqError, InvalidArgs, RpcError
from amzmq.rpc.blobdesk import ClientKey, SendFn, refuse
from amzmq.wire.blobs import CHUNK_SIZE, WINDOW_LIMIT
from amzmq.wire.blobsource import BlobData, BlobPart, BlobSource
from amzmq.wire.codec import Value
from amzmq.wire.control import Chunk, Fetch

_log = logging.getLogger("amzmq.blobs")

KEEP_S = 600.0
"""Seconds that an offer stays when nobody fetches; the temporary links of S3 last 900."""

OFFERS_LIMIT = 256
"""Offers at the same time: each may hold a file open, of which a process has 1,024 by default."""

CLOSE_WAIT_S = 5.0
"""Seconds that closing waits for the chunk at hand."""


@dataclass(slots=True)
class StoreCounters:
    """What happened so far; only ever grows.

    Attributes:
        offers: Blobs offered.
        expired: Of these, those that nobody fetched for too long.
        broken: Of these, those that could not be read any more.
        fetches: Requests for chunks.
        refused: Of these, those for what is not offered.
        chunks: Chunks sent.
        bytes: What they hold.
        sent_bytes: What of it travelled, after compression.
        undelivered: Chunks whose client was gone or full.
        taken: Blobs that a client has confirmed.
    """

    offers: int = 0
    expired: int = 0
    broken: int = 0
    fetches: int = 0
    refused: int = 0
    chunks: int = 0
    bytes: int = 0
    sent_bytes: int = 0
    undelivered: int = 0
    taken: int = 0


class Offer:
    """A blob that is offered, until it is closed or expires.

    Attributes:
        token: Names it; who knows it may fetch it.
        facts: What a payload says of it.
        size: Bytes.
        chunk_size: Bytes of each chunk but the last.
        progress: Client id to bytes sent to it.
        closed: Why it is offered no longer; "" while it is.
        expired: Whether that is because nobody fetched it.
    """

    def __init__(
        self, source: BlobSource, token: bytes, keep: float, on_closed: Callable[[Offer], None]
    ) -> None:
        self.token = token
        self.facts: list[Value] = source.offer.facts()
        self.size = source.size
        self.chunk_size = source.chunk_size
        self.progress: dict[str, int] = {}
        self.closed = ""
        self.expired = False
        self._source = source
        self._on_closed = on_closed
        self._takers: set[str] = set()
        self._waiting: dict[asyncio.Future[None], str] = {}
        self._loop = asyncio.get_running_loop()
        self._keep = keep
        self._used_at = self._loop.time()
        self._timer = self._loop.call_later(keep, self._look)

    @property
    def taken(self) -> frozenset[str]:
        """Ids of the clients that have confirmed all of it."""
        return frozenset(self._takers)

    async def when_taken(self, client: str) -> None:
        """Wait until a client has confirmed all of it.

        Args:
            client: Its id (``rc-<name>``) or its name.

        Raises:
            RpcError: The offer was closed, or expired, before.
        """
        if self._has(client):
            return
        if self.closed:
            raise self._over(client)
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting[future] = client
        try:
            await future
        finally:
            del self._waiting[future]

    def close(self, reason: str = "it was closed") -> None:
        """Offer it no longer; closing again does nothing."""
        if self.closed:
            return
        self.closed = reason
        self._timer.cancel()
        self._source.close()
        self._on_closed(self)
        for future, client in self._waiting.items():
            if not future.done():
                future.set_exception(self._over(client))

    def take(self, client: str) -> bool:
        """A client confirms that it has all of it; whether that is new."""
        if client in self._takers:
            return False
        self._takers.add(client)
        self.progress[client] = self.size
        for future, name in self._waiting.items():
            if not future.done() and self._has(name):
                future.set_result(None)
        return True

    def use(self) -> None:
        """Somebody fetches: it expires later."""
        self._used_at = self._loop.time()

    def part(self, offset: int, understood: Sequence[str]) -> BlobPart:
        """The chunk that begins at a byte; for a thread, as it may have to wait for a disk."""
        return self._source.part(offset, understood)

    def _has(self, client: str) -> bool:
        return client in self._takers or f"rc-{client}" in self._takers

    def _over(self, client: str) -> RpcError:
        return RpcError(
            f"blob {self.token.hex()} was not taken by {client!r}: {self.closed}; offer it again"
        )

    def _look(self) -> None:
        left = self._used_at + self._keep - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self.expired = True
            self.close(f"nobody fetched it for {self._keep:g} s")


_TransferKey: TypeAlias = tuple[ClientKey, bytes]
"""Who fetches, and the token of what."""


@dataclass(slots=True)
class _Transfer:
    """What one client has asked for of one blob: the bytes from `next` to `end`, or more."""

    offer: Offer
    send: SendFn
    understood: Sequence[str]
    next: int
    end: int
    too_far: bool = False


class BlobStore:
    """The blobs of one source. Everything is called on the event loop's own thread.

    Args:
        keep: Seconds that an offer stays when nobody fetches.

    Attributes:
        counters: What happened so far.
    """

    def __init__(self, keep: float = KEEP_S) -> None:
        self.counters = StoreCounters()
        self._keep = keep
        self._offers: dict[bytes, Offer] = {}
        # In the order in which they get their next chunk.
        self._transfers: OrderedDict[_TransferKey, _Transfer] = OrderedDict()
        self._pumping: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._offers)

    def __contains__(self, token: object) -> bool:
        """Whether the blob of a token is offered."""
        return token in self._offers

    async def prepare(self, data: BlobData, chunk_size: int = CHUNK_SIZE) -> BlobSource:
        """Open what is to be offered, and take its digest, on a thread.

        Raises:
            InvalidArgs: It is no bytes and no file that can be read.
            BlobDamaged: It cannot be read to its end.
        """
        source = BlobSource(data, chunk_size)
        try:
            await asyncio.to_thread(source.take_digest)
        except BaseException:
            source.close()
            raise
        return source

    def offer(
        self, data: BlobSource | BlobData, token: bytes = b"", keep: float | None = None
    ) -> Offer:
        """Offer a blob to whoever is told of it.

        Args:
            data: What `prepare` gave; or the data itself, which has no digest then.
            token: Names it; random by default.
            keep: Seconds that it stays when nobody fetches; the store's by default.

        Raises:
            InvalidArgs: The data is no blob, the token is in use, or too many are offered.
        """
        if len(self._offers) >= OFFERS_LIMIT or self._closed:
            raise InvalidArgs(
                f"{len(self._offers)} blobs are offered, {0 if self._closed else OFFERS_LIMIT} "
                "may be; close those that were taken"
            )
        token = token or secrets.token_bytes(8)
        if token in self._offers:
            raise InvalidArgs(f"token {token.hex()} is the one of another blob; leave it out")
        source = data if isinstance(data, BlobSource) else BlobSource(data)
        offer = Offer(source, token, self._keep if keep is None else keep, self._forget_offer)
        self._offers[token] = offer
        self.counters.offers += 1
        return offer

    def on_fetch(
        self, client: ClientKey, fetch: Fetch, send: SendFn, understood: Sequence[str] = ()
    ) -> None:
        """A client asks for chunks, or says that it has all of them; see `BlobDesk`."""
        self.counters.fetches += 1
        offer = self._offers.get(fetch.token)
        if offer is None:
            self.counters.refused += 1
            refuse(send, fetch.token, "no such blob is offered, or no longer")
            return
        if fetch.offset > offer.size or (fetch.chunks <= 0 and fetch.offset < offer.size):
            self.counters.refused += 1
            refuse(send, fetch.token, f"byte {fetch.offset} of {offer.size}")
            return
        offer.use()
        if fetch.offset == offer.size:
            self.counters.taken += offer.take(client[0])
            send(Chunk(fetch.token, offer.size, 0), (b"",))
            return
        self._ask(client, offer, fetch, send, understood)

    def forget(self, client: ClientKey) -> None:
        """A client is gone: what it asked for is not sent."""
        for key in [key for key in self._transfers if key[0] == client]:
            del self._transfers[key]

    async def close(self) -> None:
        """Close all offers and wait until the chunk at hand has been read."""
        self._closed = True
        for offer in list(self._offers.values()):
            offer.close("the source stops")
        if self._pumping is not None:
            await asyncio.wait([self._pumping], timeout=CLOSE_WAIT_S)
            if not self._pumping.done():
                _log.warning("a blob is still being read after %g s; its disk hangs", CLOSE_WAIT_S)
                self._pumping.cancel()
                await asyncio.wait([self._pumping])

    def _ask(
        self,
        client: ClientKey,
        offer: Offer,
        fetch: Fetch,
        send: SendFn,
        understood: Sequence[str],
    ) -> None:
        key = client, fetch.token
        wanted = min(fetch.chunks, WINDOW_LIMIT) * offer.chunk_size
        transfer = self._transfers.get(key)
        if transfer is None or fetch.offset != transfer.end:
            transfer = _Transfer(offer, send, understood, fetch.offset, fetch.offset)
            self._transfers[key] = transfer
        transfer.send = send
        ahead = transfer.next + WINDOW_LIMIT * offer.chunk_size
        transfer.too_far = transfer.end + wanted >= offer.size + offer.chunk_size
        transfer.end = min(offer.size, transfer.end + wanted, ahead)
        if self._pumping is None or self._pumping.done():
            self._pumping = asyncio.create_task(self._pump(), name="amzmq.blobs.pump")

    async def _pump(self) -> None:
        """Send chunk after chunk, one to each client in turn, while any are asked for."""
        while self._transfers:
            key, transfer = next(iter(self._transfers.items()))
            self._transfers.move_to_end(key)
            if transfer.next < transfer.end:
                await self._send_one(key, transfer)
            if transfer.next >= transfer.end and self._transfers.get(key) is transfer:
                del self._transfers[key]

    async def _send_one(self, key: _TransferKey, transfer: _Transfer) -> None:
        offer, offset = transfer.offer, transfer.next
        try:
            part = await asyncio.to_thread(offer.part, offset, transfer.understood)
            if self._transfers.get(key) is not transfer:
                return  # meanwhile the client went, or asked for something else
            chunk = Chunk(offer.token, offset, part.size, part.encoding)
            taken = transfer.send(chunk, (part.data,))
        except Exception as error:
            transfer.end = offset
            self._broke(transfer, error)
            return
        if not taken:
            # Gone or full: it asks again when it is back, or notices what is missing.
            self.counters.undelivered += 1
            transfer.end = offset
            return
        transfer.next = offset + part.size
        if transfer.too_far and transfer.next == offer.size:
            # Whoever asks on behalf of others may not know the size: no more will come.
            transfer.send(Chunk(offer.token, offer.size, 0), (b"",))
        client = key[0][0]
        offer.progress[client] = max(transfer.next, offer.progress.get(client, 0))
        self.counters.chunks += 1
        self.counters.bytes += part.size
        self.counters.sent_bytes += len(part.data)

    def _broke(self, transfer: _Transfer, error: Exception) -> None:
        """A blob cannot be read: nobody will get the rest of it."""
        offer = transfer.offer
        if not offer.closed:
            self.counters.broken += 1
            if isinstance(error, AmzmqError):
                _log.warning("blob %s is withdrawn: %s", offer.token.hex(), error)
            else:
                _log.exception("blob %s is withdrawn", offer.token.hex(), exc_info=error)
            offer.close(str(error))
        refuse(transfer.send, offer.token, offer.closed)

    def _forget_offer(self, offer: Offer) -> None:
        del self._offers[offer.token]
        if offer.expired:
            self.counters.expired += 1
            _log.info("blob %s expired: %s", offer.token.hex(), offer.closed)
