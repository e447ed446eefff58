"""A beat on the event loop: measures how late it comes, and tells systemd that it does."""

from __future__ import annotations

import asyncio

from amzmq.sidecar.systemd import Notifier

_INTERVAL = 0.25


class Pulse:
    """Runs until it is cancelled.

    Args:
        notifier: Told at half of its watchdog's time.

    Attributes:
        delay_s: How late the loop was at the last beat, in seconds.
        worst_s: At the worst one so far.
        beats: How many there were.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self.delay_s = 0.0
        self.worst_s = 0.0
        self.beats = 0

    async def run(self) -> None:
        """Beat."""
        loop = asyncio.get_running_loop()
        half = self._notifier.watchdog_s / 2
        interval = min(_INTERVAL, half) if half else _INTERVAL
        told = loop.time()
        if half:
            self._notifier.alive()
        while True:
            due = loop.time() + interval
            await asyncio.sleep(interval)
            now = loop.time()
            self.delay_s = max(0.0, now - due)
            self.worst_s = max(self.worst_s, self.delay_s)
            self.beats += 1
            if half and now - told >= half - interval:
                self._notifier.alive()
                told = now
