"""What one client wants to be told of that only the source can see (spec rpc 1.8, WhenArgs)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from amzmq.errors import InvalidArgs
from amzmq.machine import Wait
from amzmq.rpc.server.feed import Feed
from amzmq.rpc.server.limits import Guard, Limits
from amzmq.wire.control import Watch, WatchKind

WATCH_LIMIT = Limits().watches
"""Watches that one client may have open by default; as many answered ones are remembered."""


class ServerWatches:
    """The watches of one client; they outlive its connection as long as its results do.

    Args:
        feed: Of the machine it follows.
        guard: Knows how many there may be.
    """

    def __init__(self, feed: Feed, guard: Guard) -> None:
        self._feed = feed
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, tuple[Wait, Callable[[], None]]] = {}
        self._answered: OrderedDict[int, None] = OrderedDict()
        self._tell: Callable[[int], None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def connect(self, tell: Callable[[int], None] | None) -> None:
        """From now on answered requests go this way, or are kept until the client asks again."""
        self._tell = tell

    def watch(self, message: Watch, states: tuple[str, ...]) -> None:
        """Begin to watch, unless it is watched already; answered at once if it was before.

        Raises:
            InvalidArgs: The message asks for nothing that can be watched.
            LimitExceeded: Too many are open.
        """
        request = message.request
        if request in self._answered:
            self._answer(request)
            return
        if request in self._open:
            return
        if len(self._open) >= self._guard.limits.watches:
            raise self._guard.exceeded("watches", f"{len(self._open)} waits", "end some first")
        wait = self._begin(message, states)

        def done() -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._happened, request)

        self._open[request] = wait, done
        wait.add_done_callback(done)

    def _begin(self, message: Watch, states: tuple[str, ...]) -> Wait:
        source = self._feed.source
        if message.kind == WatchKind.QUEUE_ENDS:
            return source.when_queue_ends()
        if message.kind == WatchKind.ARGS and len(states) == 1:
            return source.when_args_of(states[0], message.args or {})
        raise InvalidArgs(f"watch kind {message.kind} of states {list(states)}")

    def _happened(self, request: int) -> None:
        if self._open.pop(request, None) is None:
            return
        self._answered[request] = None
        if len(self._answered) > self._guard.limits.watches:
            self._answered.popitem(last=False)
        self._answer(request)

    def _answer(self, request: int) -> None:
        """The client shall see the change before it hears of it: so the feed goes first."""
        if self._tell is not None:
            self._feed.flush()
            self._tell(request)

    def unwatch(self, request: int) -> None:
        """It is of no interest any more."""
        found = self._open.pop(request, None)
        if found is not None:
            wait, done = found
            wait.remove_done_callback(done)
        self._answered.pop(request, None)

    def close(self) -> None:
        """The client will not come back."""
        self._tell = None
        for request in list(self._open):
            self.unwatch(request)
