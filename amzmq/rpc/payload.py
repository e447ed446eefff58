"""Payloads: data beside the states, in order with them (spec rpc 8)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger("amzmq.client")

QUEUE_LIMIT = 65_536
"""Payloads that one iteration may be behind; nats-py has 524,288 messages for the same."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One payload as it arrived.

    Attributes:
        name: Which kind of payload.
        data: What was sent.
        token: Unique to this payload.
        source: Id of the machine that sent it.
        source_tx: Id of the transition it was sent from; "" if from none.
    """

    name: str
    data: Any
    token: bytes
    source: str
    source_tx: str = ""


class PayloadIterator:
    """``async for payload in client.payloads("price")``; ends when the client stops.

    Payloads are kept from the moment of creation on, up to `limit`; the oldest is dropped
    then, and counted in `dropped`.
    """

    def __init__(
        self, names: tuple[str, ...], limit: int, closed: Callable[[PayloadIterator], None]
    ) -> None:
        self.dropped = 0
        self._names = frozenset(names)
        self._waiting: deque[Payload] = deque()
        self._limit = limit
        self._closed = closed
        self._arrived = asyncio.Event()
        self._ended = False

    def wants(self, payload: Payload) -> bool:
        """Whether a payload is of interest."""
        return not self._names or payload.name in self._names

    def offer(self, payload: Payload) -> bool:
        """Keep a payload if it is of interest; whether one was dropped for it."""
        if not self.wants(payload):
            return False
        full = len(self._waiting) >= self._limit
        if full:
            self._waiting.popleft()
            if not self.dropped:
                _log.warning("payloads %s: read too slowly, dropping the oldest", self._names)
            self.dropped += 1
        self._waiting.append(payload)
        self._arrived.set()
        return full

    def end(self) -> None:
        """No more payloads will come; what waits is still handed out."""
        self._ended = True
        self._arrived.set()

    async def aclose(self) -> None:
        """Stop keeping payloads."""
        self.end()
        self._closed(self)

    def __aiter__(self) -> PayloadIterator:
        return self

    async def __anext__(self) -> Payload:
        while not self._waiting:
            if self._ended:
                self._closed(self)
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()
