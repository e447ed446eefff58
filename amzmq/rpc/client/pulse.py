"""When a client beats: as an answer to the feed's heartbeat, which all followers hear at once.

So a source wakes once for the beats of them all and rests in between; each by itself would cost
it about five times the CPU. When there are many, the source asks each to answer only every so
many heartbeats; they spread at random over these.
"""

from __future__ import annotations

import asyncio
import random

LATE = 1.25
"""Heartbeats after which a client goes on without the feed's: lost, or in no hurry."""

SOON = 0.5
"""Heartbeats within which another one is the same: of another machine, or a late one."""


class Pulse:
    """Turns the feed's heartbeats into those of a client.

    Attributes:
        every: The feed's heartbeats for each of the client's, as the source wants it.
    """

    def __init__(self) -> None:
        self.every = 1
        self._left = 1
        self._felt_at = 0.0
        self._beat: asyncio.Future[None] | None = None
        self._interval = 0.0
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random()  # nosec B311  # only spreads the beats

    def felt(self) -> None:
        """The feed's heartbeat arrived."""
        now = self._loop.time()
        if now - self._felt_at >= SOON * self._interval:
            self._go_on(now)

    def asked(self, every: int) -> None:
        """The source wants one answer for so many heartbeats."""
        every = max(1, every)
        if every != self.every:
            self.every = every
            self._left = self._rng.randint(1, every)

    async def beat(self, interval: float) -> None:
        """Wait for the feed's next heartbeat, or for as long as it may take.

        Args:
            interval: Seconds between heartbeats.
        """
        self._interval = interval
        self._beat = self._loop.create_future()
        late = self._loop.call_at(self._loop.time() + LATE * interval, self._is_late)
        try:
            await self._beat
        finally:
            late.cancel()
            self._beat = None

    def is_due(self) -> bool:
        """Whether the client answers the heartbeat that was just awaited."""
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self.every
        return True

    def _is_late(self) -> None:
        self._go_on(self._loop.time())

    def _go_on(self, now: float) -> None:
        self._felt_at = now
        if self._beat is not None and not self._beat.done():
            self._beat.set_result(None)
