"""Fetches a client's blobs, chunk by chunk, only as fast as somebody reads them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amzmq.errors import AmzmqError, CallTimeout, FrameInvalid, NotConnected, Refused, RpcError
from amzmq.rpc.blobs.offer import ITERATOR_LIMIT, Blob, BlobIterator
from amzmq.rpc.payload import Payload
from amzmq.wire.blobs import WINDOW, BlobOffer, BlobReader
from amzmq.wire.codec import Value
from amzmq.wire.control import Chunk, Fetch

NOBODY = "nobody takes blobs of this name there"

STALL_S = 3.0
"""Seconds without a chunk after which it is asked for again; as long as a call may take."""

STALLS_LIMIT = 5
"""Times in a row that this happens before a blob is given up."""


@dataclass(slots=True)
class BlobCounters:
    """What happened so far; only ever grows.

    Attributes:
        offers: Blobs that were offered.
        unwanted: Of these, those that nobody iterated for.
        chunks: Chunks that came in order.
        bytes: What they hold.
        duplicates: Chunks that came again, or that nobody had asked for.
        holes: Times that a chunk was missing.
        stalls: Times that nothing came for too long.
        complete: Blobs of which all has arrived.
        failed: Blobs of which not all will arrive.
        unconfirmed: Complete blobs of which the source could not be told.
    """

    offers: int = 0
    unwanted: int = 0
    chunks: int = 0
    bytes: int = 0
    duplicates: int = 0
    holes: int = 0
    stalls: int = 0
    complete: int = 0
    failed: int = 0
    unconfirmed: int = 0


@dataclass(slots=True)
class _Transfer:
    """A blob that somebody reads.

    Attributes:
        blob: Held weakly: one that was dropped half read is not fetched further.
        seen: How far it was at the last look; -1 if it was asked for since.
        stalls: How often in a row nothing had come.
    """

    blob: weakref.ref[Blob]
    seen: int = -1
    stalls: int = 0


@dataclass(slots=True)
class _Confirmation:
    """What tells the source that a blob has arrived, until it says that it knows."""

    fetch: Fetch
    tries: int = 0


class Fetcher:
    """The blobs of one client. Everything is called on the event loop's own thread.

    Args:
        send: Sends a request for chunks; False when there is nobody to take it.
        window: Chunks of each blob that may be in flight or not yet read.
        stall_timeout: Seconds without a chunk after which it is asked for again.
        stalls_limit: Times in a row that this may happen.

    Attributes:
        counters: What happened so far.
    """

    def __init__(
        self,
        send: Callable[[Fetch], bool],
        *,
        window: int = WINDOW,
        stall_timeout: float = STALL_S,
        stalls_limit: int = STALLS_LIMIT,
    ) -> None:
        self.counters = BlobCounters()
        self._window = window
        self._send = send
        self._stall_timeout = stall_timeout
        self._stalls_limit = stalls_limit
        self._transfers: dict[bytes, _Transfer] = {}
        self._confirming: dict[bytes, _Confirmation] = {}
        self._iterators: list[BlobIterator] = []
        self._ended: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None

    def iterate(self, *names: str, limit: int = ITERATOR_LIMIT) -> BlobIterator:
        """Iterate over blobs as they are offered, of the given names or all.

        Args:
            names: Which kinds; all when empty.
            limit: How many offers are kept before the oldest is dropped and counted.
        """
        iterator = BlobIterator(names, limit, self._forget_iterator)
        self._iterators.append(iterator)
        return iterator

    def wants(self, name: str) -> bool:
        """Whether anybody iterates over blobs of a name."""
        return any(iterator.wants(name) for iterator in self._iterators)

    def offer(self, name: str, token: bytes, facts: Sequence[Value], source: str = "") -> Blob:
        """A payload offers a blob: show it to whoever iterates.

        Raises:
            FrameInvalid: The facts are none.
        """
        reader = BlobReader(token, BlobOffer.from_facts(facts), self._window)
        blob = Blob(name, reader, source, self.want)
        self.counters.offers += 1
        self.counters.unwanted += not self.wants(name)
        for iterator in self._iterators:
            if iterator.wants(name):
                iterator.offer(blob)
        return blob

    def offered(self, payload: Payload, facts: Sequence[Value]) -> str:
        """A payload of a client offers a blob; why that is of no use here, or ""."""
        try:
            self.offer(payload.name, payload.token, facts, payload.source)
        except FrameInvalid as error:
            self.counters.failed += 1
            return str(error)
        return "" if self.wants(payload.name) else NOBODY

    def want(self, blob: Blob) -> None:
        """Somebody reads: ask for what there is room for."""
        if not blob.begun:
            self._begin(blob)
        elif (transfer := self._transfers.get(blob.token)) is not None:
            self._ask(transfer, blob)

    def on_chunk(self, chunk: Chunk, data: bytes) -> None:
        """A chunk came."""
        if chunk.size == 0 and self._confirming.pop(chunk.token, None) is not None:
            return
        transfer = self._transfers.get(chunk.token)
        blob = self._alive(chunk.token)
        if transfer is None or blob is None:
            self.counters.duplicates += 1
            return
        reader = blob.reader
        before = reader.duplicates, reader.holes
        try:
            plain = reader.receive(chunk, data)
        except AmzmqError as error:
            self._fail(blob, error)
            return
        self.counters.duplicates += reader.duplicates - before[0]
        self.counters.holes += reader.holes - before[1]
        if plain is not None:
            self.counters.chunks += 1
            self.counters.bytes += len(plain)
            transfer.stalls = 0
            blob.add(plain)
        if reader.complete:
            self._complete(blob)
        else:
            self._ask(transfer, blob)

    def on_refused(self, token: bytes, reason: str) -> None:
        """The source does not offer it, or no longer."""
        if self._confirming.pop(token, None) is not None:
            self.counters.unconfirmed += 1
        blob = self._alive(token)
        if blob is not None:
            self._fail(blob, Refused(reason))

    def reconnected(self) -> None:
        """A conversation begins: go on with everything from where it is."""
        self._ended = None
        self.ask_again()

    def ask_again(self) -> None:
        """What was asked for will not come: ask for all of it once more."""
        for token, transfer in list(self._transfers.items()):
            blob = self._alive(token)
            if blob is not None:
                blob.reader.restart()
                self._ask(transfer, blob)
        for confirmation in self._confirming.values():
            self._send(confirmation.fetch)

    def end(self, error: Exception) -> None:
        """Nothing more will come: whoever reads gets the error, whoever iterates ends."""
        self._ended = error
        for token in list(self._transfers):
            blob = self._alive(token)
            if blob is not None:
                self._fail(blob, error)
        self.counters.unconfirmed += len(self._confirming)
        self._confirming.clear()
        for iterator in list(self._iterators):
            iterator.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _alive(self, token: bytes) -> Blob | None:
        """The blob of a transfer; None, and no transfer any more, when nobody holds it."""
        transfer = self._transfers.get(token)
        blob = None if transfer is None else transfer.blob()
        if transfer is not None and blob is None:
            del self._transfers[token]
            self.counters.failed += 1
        return blob

    def _begin(self, blob: Blob) -> None:
        blob.begun = True
        if self._ended is not None:
            self._fail(blob, NotConnected(f"blob {blob.name!r}: {self._ended}"))
        elif self._alive(blob.token) is not None:
            self._fail(blob, RpcError(f"blob {blob.name!r} came twice, and is being read already"))
        elif blob.reader.complete:  # an empty one
            self._complete(blob)
        else:
            transfer = self._transfers[blob.token] = _Transfer(weakref.ref(blob))
            self._ask(transfer, blob)

    def _ask(self, transfer: _Transfer, blob: Blob) -> bool:
        """Ask for what there is room for; whether that was done."""
        self._watch()
        fetch = blob.reader.fetch()
        if fetch is None:
            return False
        if not self._send(fetch):
            blob.reader.restart()  # asked again by `reconnected`, or by the timer
            return False
        transfer.seen = -1
        return True

    def _complete(self, blob: Blob) -> None:
        self._transfers.pop(blob.token, None)
        self.counters.complete += 1
        confirmation = _Confirmation(blob.reader.confirmation())
        self._confirming[blob.token] = confirmation
        self._send(confirmation.fetch)
        self._watch()
        blob.finish()

    def _fail(self, blob: Blob, error: Exception) -> None:
        transfer = self._transfers.get(blob.token)
        if transfer is not None and transfer.blob() is blob:
            del self._transfers[blob.token]
        self.counters.failed += 1
        blob.fail(error)

    def _watch(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._stall_timeout, self._look)

    def _look(self) -> None:
        """Ask again for what did not come since the last look."""
        self._timer = None
        for token, transfer in list(self._transfers.items()):
            blob = self._alive(token)
            if blob is not None:
                self._look_after(transfer, blob)
        for token, confirmation in list(self._confirming.items()):
            if confirmation.tries >= self._stalls_limit:
                del self._confirming[token]
                self.counters.unconfirmed += 1
            else:
                confirmation.tries += self._send(confirmation.fetch)
        if self._transfers or self._confirming:
            self._watch()

    def _look_after(self, transfer: _Transfer, blob: Blob) -> None:
        reader = blob.reader
        seen, transfer.seen = transfer.seen, reader.offset
        if not reader.in_flight or seen != reader.offset:
            self._ask(transfer, blob)
            return
        if transfer.stalls >= self._stalls_limit:
            reason = f"nothing came after byte {reader.offset} of {blob.size}"
            tries = f"asked {transfer.stalls + 1} times"
            self._fail(blob, CallTimeout(f"blob {blob.name!r}: {reason}, {tries}"))
            return
        reader.restart()
        if self._ask(transfer, blob):  # while nobody is there it is no stall
            transfer.stalls += 1
            self.counters.stalls += 1

    def _forget_iterator(self, iterator: BlobIterator) -> None:
        if iterator in self._iterators:
            self._iterators.remove(iterator)
