"""What is due at the end of a loop turn: one diff a stream, and the replies to all requests."""

from __future__ import annotations

import asyncio

from amzmq.rpc.server.feed import Feed
from amzmq.rpc.server.server import Server


class Turn:
    """Collects the feeds and servers that have something to say, and lets them say it at once."""

    def __init__(self) -> None:
        self._to_answer: dict[Server, None] = {}
        self._held: dict[Feed, None] = {}
        self._will_answer = False
        self._is_closed = False

    def hold(self, feed: Feed) -> None:
        """Mutations are read: the transport says when it has read all there is (`end`)."""
        self._will_answer = True
        self._held[feed] = None
        feed.hold()

    def answer_soon(self, server: Server) -> None:
        """A reply is due: behind the messages that are read now, or at the end of this turn."""
        self._to_answer[server] = None
        self._held[server.feed] = None
        if not self._will_answer:
            self._will_answer = True
            asyncio.get_running_loop().call_soon(self.end)

    def forget(self, server: Server) -> None:
        """Its client went: nobody waits for the reply."""
        self._to_answer.pop(server, None)

    def end(self) -> None:
        """One diff a stream, the reply to every request, then the feed.

        Somebody waits for the replies, so they go first.
        """
        self._will_answer = False
        if self._is_closed:
            return
        held, self._held = self._held, {}
        servers, self._to_answer = self._to_answer, {}
        taken = [(feed, feed.take()) for feed in held]
        try:
            for server in servers:
                server.reply_all()
        finally:
            for feed, frames in taken:
                feed.publish(frames)

    def close(self) -> None:
        """Nothing more is said."""
        self._is_closed = True
