"""Payloads as one client takes them: iterators, callbacks, a consumer (spec rpc 8.2)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from amzmq.machine import Machine, Result
from amzmq.rpc.payload import Payload, PayloadIterator
from amzmq.wire.codec import Value
from amzmq.wire.control import Ack, Directed

_log = logging.getLogger("amzmq.client")

NOBODY = "nobody takes payloads of this name there"


class Deliveries:
    """Hands payloads out, once and in order, and knows which were of no use.

    Args:
        client_id: Names the client in the log.
        consumer: Gets WorkerPayload for each payload, if there is one.
        number: The newest message that the replica has applied.
        arrived: Called with each payload for everybody, and the facts of the blob that it offers,
            if any; whether somebody took it.
        offered: Called with each payload that offers a blob, and the facts of that; why it was
            of no use, or "".
        tell_state: Called before the consumer gets a payload.

    Attributes:
        failed: Payloads for everybody that nobody made use of.
        dropped: Payloads that an iteration dropped because it was read too slowly.
    """

    def __init__(
        self,
        client_id: str,
        consumer: Machine | None,
        number: Callable[[], int],
        arrived: Callable[[Payload, list[Value] | None], bool],
        offered: Callable[[Payload, list[Value]], str],
        tell_state: Callable[[], None] = lambda: None,
    ) -> None:
        self.failed = 0
        self.dropped = 0
        self._client_id = client_id
        self._consumer = consumer
        self._number = number
        self._arrived = arrived
        self._offered = offered
        self._tell_state = tell_state
        self._iterators: list[PayloadIterator] = []
        self._callbacks: list[Callable[[Payload], None]] = []
        self._held: list[Directed] = []
        self._directed = 0

    # Who takes them.

    def iterate(self, names: tuple[str, ...], limit: int) -> PayloadIterator:
        """Begin to keep payloads of these names, or all."""
        iterator = PayloadIterator(names, limit, self._forget)
        self._iterators.append(iterator)
        return iterator

    def call(self, callback: Callable[[Payload], None]) -> None:
        """Call `callback` for each payload."""
        self._callbacks.append(callback)

    def _forget(self, iterator: PayloadIterator) -> None:
        if iterator in self._iterators:
            self._iterators.remove(iterator)

    def end(self) -> None:
        """No more payloads will come."""
        for iterator in list(self._iterators):
            iterator.end()

    # Payloads for everybody.

    def deliver(self, payload: Payload, blob: list[Value] | None) -> None:
        """A payload of the stream."""
        taken = self._arrived(payload, blob)
        if blob is None:
            reason = self._hand_out(payload, taken)
        else:
            useless = self._offered(payload, blob)
            reason = "" if taken else useless
        if reason:
            self.failed += 1

    def _hand_out(self, payload: Payload, taken: bool) -> str:
        """Give a payload to all who want it; why it was of no use, or ""."""
        reason = ""
        for iterator in self._iterators:
            if iterator.wants(payload):
                taken = True
                self.dropped += iterator.offer(payload)
        for callback in self._callbacks:
            taken = True
            try:
                callback(payload)
            except Exception as error:
                _log.exception("[%s] a payload callback failed", self._client_id)
                reason = f"a callback failed: {error!r}"
        if self._consumer is not None:
            taken = True
            self._tell_state()
            result = self._consumer.add("WorkerPayload", name=payload.name, payload=payload)
            if result == Result.CANCELED:
                reason = f"the consumer {self._consumer.id} refused it"
        return reason if taken else NOBODY

    # Payloads for this client alone.

    def start_over(self) -> None:
        """The source does not remember this client: it counts from the beginning again."""
        self._directed = 0
        self._held.clear()

    def direct(self, message: Directed, source: str) -> Ack | None:
        """A payload for this client alone, of `source`; what to answer, if anything yet."""
        if message.ordinal == self._directed + len(self._held) + 1:
            self._held.append(message)
        elif message.ordinal <= self._directed:
            return Ack(self._directed)  # the source has not heard of it yet
        return self.applied(self._number(), source)

    @property
    def waiting(self) -> bool:
        """Whether some wait for the states that they follow."""
        return bool(self._held)

    def applied(self, number: int, source: str) -> Ack | None:
        """The stream is applied up to `number`: what may be handed out now, is."""
        failed: list[object] = []
        before = self._directed
        while self._held and self._held[0].after <= number:
            message = self._held.pop(0)
            self._directed = message.ordinal
            payload = Payload(
                message.name, message.data, message.token, message.source or source,
                message.source_tx,
            )  # fmt: skip
            if message.blob is not None:
                reason = self._offered(payload, message.blob)
            else:
                reason = self._hand_out(payload, False)
            if reason:
                failed.append([message.ordinal, reason])
        if self._directed == before:
            return None
        return Ack(self._directed, failed or None)
