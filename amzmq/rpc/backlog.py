"""What arrives faster than it is read: kept in order, bounded, the oldest dropped and counted."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Generic, Self, TypeVar

_log = logging.getLogger("amzmq.client")

T = TypeVar("T")

BACKLOG_LIMIT = 65_536
"""How much one iteration may be behind; nats-py has 524,288 messages for the same."""


class Backlog(Generic[T]):
    """An asynchronous iteration over what is offered; ends behind the last of it.

    Args:
        what: What is kept, for the log.
        limit: How many at most; the oldest is dropped then.
        closed: Told when nothing more is wanted: nobody need offer any more.

    Attributes:
        dropped: How many were.
    """

    _closed: Callable[[Self], None]

    def __init__(self, what: str, limit: int, closed: Callable[[Self], None]) -> None:
        self.dropped = 0
        self._what = what
        self._waiting: deque[T] = deque()
        self._limit = limit
        self._closed = closed
        self._arrived = asyncio.Event()
        self._ended = False

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, item: T) -> bool:
        """Keep something; whether the oldest was dropped for it."""
        full = len(self._waiting) >= self._limit
        if full:
            self._waiting.popleft()
            if not self.dropped:
                _log.warning("%s: read too slowly, dropping the oldest", self._what)
            self.dropped += 1
        self._waiting.append(item)
        self._arrived.set()
        return full

    def end(self) -> None:
        """No more will come; what waits is still handed out."""
        self._ended = True
        self._arrived.set()

    async def aclose(self: Self) -> None:
        """Stop keeping anything."""
        self.end()
        self._closed(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self: Self) -> T:
        while not self:
            if self._ended:
                self._closed(self)
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._next()

    def _next(self) -> T:
        return self._waiting.popleft()
