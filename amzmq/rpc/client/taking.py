"""The part of a `Client` that takes payloads and blobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from amzmq.errors import SchemaMismatch
from amzmq.machine import Machine
from amzmq.rpc.backlog import BACKLOG_LIMIT
from amzmq.rpc.blobs.fetcher import Fetcher
from amzmq.rpc.blobs.offer import ITERATOR_LIMIT, BlobIterator
from amzmq.rpc.client.calls import Calls
from amzmq.rpc.client.deliveries import Deliveries
from amzmq.rpc.payload import Payload, PayloadIterator
from amzmq.rpc.replica.follower import Follower
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.replica.watches import Watches
from amzmq.wire.control import Ack, Directed, Message, Sync
from amzmq.wire.feed import PayloadFrame


class Taking(ABC):
    """Hands out what the source sends beside its states; only a part, never used alone.

    Args:
        mach: The client's own machine.
        consumer: Gets WorkerPayload for each payload, if there is one.
    """

    mach: Machine

    def __init__(self, consumer: Machine | None) -> None:
        self.fetcher = Fetcher(self._send)
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

    def _arrived(self, payload: Payload) -> bool:
        return self.net_mach.payload_arrived(payload)

    def _offered(self, payload: Payload, facts: list[object]) -> str:
        """A blob can be fetched; why nobody wants it, or ""."""
        self.mach.add("WorkerDelivering")
        return self.fetcher.offered(payload, facts)

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
