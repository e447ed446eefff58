"""Payloads: data beside the states, in order with them (spec rpc 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amzmq.rpc.backlog import Backlog


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


class PayloadIterator(Backlog[Payload]):
    """``async for payload in client.payloads("price")``; ends when the client stops.

    Payloads are kept from the moment of creation on, up to `limit`; the oldest is dropped
    then, and counted in `dropped`.
    """

    def __init__(
        self, names: tuple[str, ...], limit: int, closed: Callable[[PayloadIterator], None]
    ) -> None:
        super().__init__(f"payloads {' '.join(names)}".rstrip(), limit, closed)
        self._names = frozenset(names)

    def wants(self, payload: Payload) -> bool:
        """Whether a payload is of interest."""
        return not self._names or payload.name in self._names

    def offer(self, payload: Payload) -> bool:
        """Keep a payload if it is of interest; whether one was dropped for it."""
        return self.wants(payload) and super().offer(payload)
