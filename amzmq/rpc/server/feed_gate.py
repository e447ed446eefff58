"""Who may subscribe what, and the first beat for those who do (design decision 12)."""

from __future__ import annotations

import asyncio

from amzmq.net import Publisher
from amzmq.rpc.server.counters import FirstOnly, MuxCounters
from amzmq.rpc.server.entitlement import was_given
from amzmq.rpc.server.sessions import Sessions
from amzmq.rpc.server.sources import Sources


class FeedGate:
    """Confirms exact ids of streams that were handed out, and nothing else.

    Args:
        sources: What is published.
        sessions: Who was given which stream.
        counters: Of the Mux.
        first: Its log.

    Attributes:
        publisher: The feed's socket; None until it is bound.
    """

    def __init__(
        self, sources: Sources, sessions: Sessions, counters: MuxCounters, first: FirstOnly
    ) -> None:
        self.publisher: Publisher | None = None
        self._sources = sources
        self._sessions = sessions
        self._counters = counters
        self._first = first
        self._loop = asyncio.get_running_loop()
        self._greeting = False

    def confirms(self, topic: bytes) -> bool:
        """Whether a subscription is confirmed; a beat tells the newcomer that it is connected."""
        asker = "" if self.publisher is None else self.publisher.asker
        known = self._sources.stream(topic) is not None
        if not known or not was_given(asker, topic, self._sessions):
            self._counters.garbage += 1
            self._first.log("subscription", f"a subscription to an unknown stream {topic!r:.40}")
            return False
        if not self._greeting:
            self._greeting = True
            self._loop.call_soon(self._greet)
        return True

    def _greet(self) -> None:
        """One beat for all who subscribed in this turn."""
        self._greeting = False
        for feed in self._sources.feeds:
            feed.beat()

    def garbage(self, frame: bytes) -> None:
        """A peer of the feed sent what is no subscription."""
        self._counters.garbage += 1
        self._first.log("garbage", f"{len(frame)} bytes on the feed that are no subscription")
