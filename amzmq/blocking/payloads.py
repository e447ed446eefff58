"""Payloads for a plain ``for`` loop (spec rpc 8)."""

from __future__ import annotations

from amzmq.blocking.line import Line
from amzmq.blocking.taking import TwinIterator
from amzmq.rpc.payload import Payload
from amzmq.rpc.payload import PayloadIterator as AioIterator

BATCH = 256
"""Payloads that are brought from the loop thread at once, if so many wait."""


class PayloadIterator(TwinIterator[Payload]):
    """``for payload in client.payloads("price")``; ends when the client stops.

    Payloads are kept from the moment of creation on, up to the `limit` of `Client.payloads`; the
    oldest is dropped then, and counted in `dropped`. Several threads may take from one
    iterator; each payload goes to one of them.
    """

    def __init__(self, line: Line, iterator: AioIterator, timeout: float | None) -> None:
        super().__init__(line, "payloads()", iterator.__anext__, BATCH, iterator, timeout)
