"""The part of a `Client` that takes payloads and blobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from amzmq.errors import NotConnected, SchemaMismatch
from amzmq.machine import Machine
from amzmq.rpc.backlog import BACKLOG_LIMIT
from amzmq.rpc.blobs.fetcher import Fetcher
from amzmq.rpc.blobs.offer import ITERATOR_LIMIT, BlobIterator
from amzmq.rpc.blobs.transit import Transit
from amzmq.rpc.client.calls import Calls
from amzmq.rpc.client.deliveries import Deliveries
from amzmq.rpc.payload import Payload, PayloadIterator
from amzmq.rpc.replica.follower import Follower
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.replica.watches import Watches
from amzmq.wire.compression import encodings
from amzmq.wire.control import Ack, Chunk, Directed, Fetch, Message, Refusal, Sync
from amzmq.wire.feed import PayloadFrame

_OWN = "", b"", ""
"""Who asks a client's own transit for its own blobs."""


class Taking(ABC):
    """Hands out what the source sends beside its states; only a part, never used alone.

    Args:
        mach: The client's own machine.
        consumer: Gets WorkerPayload for each payload, if there is one.
    """

    mach: Machine

    def __init__(self, consumer: Machine | None) -> None:
        self._transit: Transit | None = None
        self.fetcher = Fetcher(self._fetch)
        self.deliveries = Deliveries(
            self.mach.id,
            consumer,
            self._number,
            self._arrived,
            self._offered,
            self._worker_payload,
        )

    @property
    @abstractmethod
    def net_mach(self) -> NetworkMachine:
        """The replica."""

    @property
    @abstractmethod
    def follower(self) -> Follower:
        """What keeps it level."""

    @abstractmethod
    def beat(self) -> None:
        """The feed's heartbeat arrived."""

    @abstractmethod
    def aged(self) -> None:
        """Whoever publishes the stream has lost its own source, or found it again."""

    @property
    @abstractmethod
    def calls(self) -> Calls:
        """The calls in flight."""

    @property
    @abstractmethod
    def watches(self) -> Watches:
        """The waits at the source."""

    @abstractmethod
    def _send(self, message: Message) -> bool:
        """Send a message; False when there is no connection."""

    @abstractmethod
    def ask(self, message: Sync) -> bool:
        """Put a question of the follower's."""

    @abstractmethod
    def misfit(self, error: SchemaMismatch) -> None:
        """The source's schema has lost states that are followed here."""

    @abstractmethod
    def _number(self) -> int:
        """The newest message that the replica has applied."""

    def payloads(self, *names: str, limit: int = BACKLOG_LIMIT) -> PayloadIterator:
        """Iterate over payloads as they come, of the given names or all.

        Args:
            names: Which kinds; all when empty.
            limit: How many are kept for a slow reader before the oldest is dropped and counted.
        """
        return self.deliveries.iterate(names, limit)

    def blobs(self, *names: str, limit: int = ITERATOR_LIMIT) -> BlobIterator:
        """Iterate over blobs as they are offered; as `payloads`."""
        return self.fetcher.iterate(*names, limit=limit)

    def on_payload(self, callback: Callable[[Payload], None]) -> None:
        """Call `callback` for each payload, in order with the states; it must not block."""
        self.deliveries.call(callback)

    def _arrived(self, payload: Payload, blob: list[object] | None) -> bool:
        return self.net_mach.payload_arrived(payload, blob)

    def _offered(self, payload: Payload, facts: list[object]) -> str:
        """A blob can be fetched; why nobody wants it, or ""."""
        self.mach.add("WorkerDelivering")
        return self.fetcher.offered(payload, facts)

    # Chunks of blobs, for the client itself and for those who follow its replica.

    @property
    def blobs_above(self) -> Transit:
        """Gets chunks of blobs for others; from now on the client's own come by it too.

        To the source they are all one client, who gets one part of a blob at a time.
        """
        if self._transit is None:
            self._transit = Transit(self._send)
            self.fetcher.ask_again()
        return self._transit

    def _fetch(self, fetch: Fetch) -> bool:
        if self._transit is None:
            return self._send(fetch)
        if not self.mach.is_("Connected"):
            return False
        self._transit.on_fetch(_OWN, fetch, self._take_own, encodings())
        return True

    def _take_own(self, message: Chunk | Refusal, parts: Sequence[bytes]) -> bool:
        if isinstance(message, Chunk):
            self.fetcher.on_chunk(message, parts[0])
        else:
            self.fetcher.on_refused(message.token, message.reason)
        return True

    def take_chunk(self, chunk: Chunk, data: bytes) -> None:
        """A part of a blob came."""
        if self._transit is None:
            self.fetcher.on_chunk(chunk, data)
        else:
            self._transit.on_chunk(chunk, data)

    def take_refusal(self, refusal: Refusal) -> None:
        """A blob is refused."""
        if self._transit is None:
            self.fetcher.on_refused(refusal.token, refusal.reason)
        else:
            self._transit.on_refused(refusal)

    def fetch_again(self) -> None:
        """A conversation begins: what is fetched goes on."""
        if self._transit is not None:
            self._transit.reconnected()
        self.fetcher.reconnected()

    def end_fetching(self, reason: str) -> None:
        """The client stops: no more chunks will come, for nobody."""
        self.fetcher.end(NotConnected(reason))
        if self._transit is not None:
            self._transit.end(reason)

    def _worker_payload(self) -> None:
        self.mach.add("WorkerPayload")

    def deliver(self, frame: PayloadFrame) -> None:
        """A payload of the stream; from its follower."""
        source = frame.source or self.net_mach.remote_id
        self.deliveries.deliver(
            Payload(frame.name, frame.data, frame.token, source, frame.source_tx), frame.blob
        )

    def take_directed(self, message: Directed) -> None:
        """A payload for this client alone: once, and not before the states it follows."""
        self._acknowledge(self.deliveries.direct(message, self.net_mach.remote_id))
        if self.deliveries.waiting:
            self.follower.await_number(self)

    def _acknowledge(self, ack: Ack | None) -> None:
        if ack is not None:
            self._send(ack)

    def applied(self, number: int) -> bool:
        """The stream is applied up to `number`: what waited for that may go on; is there more?"""
        waits = self.calls.applied(number) | self.watches.applied(number)
        if not self.deliveries.waiting:
            return waits
        self._acknowledge(self.deliveries.applied(number, self.net_mach.remote_id))
        return waits or self.deliveries.waiting
