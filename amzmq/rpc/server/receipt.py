"""What became of a payload (spec rpc 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any

from amzmq.errors import DeliveryFailed


class Receipt:
    """The sender's end of one payload.

    A payload for one client: ``await receipt`` ends when the client has made use of it, and
    raises `DeliveryFailed` when it could not. A payload for everybody is done once published;
    what followers could not use is counted in `Mux.metrics()` as ``payloads_failed``.

    Attributes:
        token: Unique to the payload; the receiver sees the same.
        name: Of the payload.
        destination: The client's id; "" for everybody.
    """

    __slots__ = ("_future", "destination", "name", "token")

    def __init__(self, token: bytes, name: str, destination: str = "") -> None:
        self.token = token
        self.name = name
        self.destination = destination
        self._future: Future[None] = Future()

    def done(self) -> bool:
        """Whether its fate is known."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> None:
        """Block the calling thread, not that of an event loop, until its fate is known.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            DeliveryFailed: Nobody made use of it.
            TimeoutError: The time passed first.
        """
        self._future.result(timeout)

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.wrap_future(self._future).__await__()

    def taken(self) -> None:
        """It arrived, and was made use of."""
        if not self._future.done():
            self._future.set_result(None)

    def failed(self, reason: str) -> None:
        """It was of no use, or its client is gone for good."""
        if not self._future.done():
            self._future.set_exception(DeliveryFailed(self.name, self.destination, reason))
