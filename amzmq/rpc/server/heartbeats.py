"""What a Mux does once a heartbeat (design decision 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from amzmq.rpc.server.server import Server
from amzmq.rpc.server.sessions import Sessions
from amzmq.rpc.server.sources import Sources

MISSED_BEATS = 3
"""Heartbeats after which a silent peer counts as gone; of its own, if it was asked for fewer."""


class Heartbeats:
    """Says where the streams are, sends again what was not confirmed, finds silent clients.

    Args:
        interval: Seconds between heartbeats.
        sources: What is published.
        sessions: The clients.
        silent: Told of a connection that has missed its beats, with its server.

    Attributes:
        also: Called with each beat.
    """

    def __init__(
        self,
        interval: float,
        sources: Sources,
        sessions: Sessions,
        silent: Callable[[bytes, Server], None],
    ) -> None:
        self.also: Callable[[], None] = lambda: None
        self._interval = interval
        self._sources = sources
        self._sessions = sessions
        self._silent = silent

    async def run(self) -> None:
        """Beat until cancelled."""
        clock = asyncio.get_running_loop().time
        interval = self._interval
        while True:
            asleep = clock()
            await asyncio.sleep(interval)
            for feed in self._sources.feeds:
                feed.beat()
            self.also()
            now = clock()
            if now - asleep > 2 * interval:
                continue  # this loop was blocked: what the clients sent waits unread
            for peer, server in self._sessions.peers():
                server.outbox.resend(now - interval)
                if server.last_seen < now - MISSED_BEATS * server.ping_every * interval:
                    self._silent(peer, server)
