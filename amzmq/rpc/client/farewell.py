"""The source has said goodbye: what it published before that is taken in first.

The feed comes another way than the conversation. Whoever hears the goodbye first, a busy process
for instance, would stop listening to the feed with the last changes unread, and if the source is
gone for good never learn of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from amzmq.rpc.replica.follower import Follower
from amzmq.wire.codec import Value

FAREWELL_WAIT = 0.3
"""Seconds that what was published last may take; the source waits 0.5 s for its clients."""


class Farewell:
    """A goodbye that is held back until all before it has come.

    Args:
        heads: [stream id, number of its last message] of the streams that the source ends.
        followers: What is followed.
        heard: Called once all of it is applied, or the time is over.
    """

    def __init__(
        self,
        heads: Iterable[Value],
        followers: Iterable[Follower],
        heard: Callable[[], None],
    ) -> None:
        numbers: dict[bytes, int] = {}
        for each in heads:
            match each:
                case [bytes(stream_id), int(head)]:
                    numbers[stream_id] = head
        self._heard = heard
        self._open = 0
        self._timer: asyncio.TimerHandle | None = None
        for follower in followers:
            head = numbers.get(follower.stream_id, 0)
            if follower.number < head:
                self._open += 1
                follower.await_number(_Last(head, self._one_less))
                follower.expect(head)
        if self._open:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(FAREWELL_WAIT, self._end)
        else:
            heard()

    def cancel(self) -> None:
        """The connection has ended otherwise."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _one_less(self) -> None:
        self._open -= 1
        if not self._open:
            self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self.cancel()
            self._heard()


class _Last:
    """Waits for the last message of one stream."""

    def __init__(self, number: int, came: Callable[[], None]) -> None:
        self._number = number
        self._came = came

    def applied(self, number: int) -> bool:
        """The stream is applied up to `number`; whether more is waited for."""
        if number < self._number:
            return True
        self._came()
        return False
