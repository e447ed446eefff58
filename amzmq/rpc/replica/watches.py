"""A replica's waits for what only the source can see (spec rpc 1.8, WhenArgs)."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Mapping

from amzmq.machine import Wait
from amzmq.machine.wait import call_on
from amzmq.wire.codec import encode
from amzmq.wire.control import Message, Unwatch, Watch, WatchKind

_log = logging.getLogger("amzmq.client")


FIRST_REQUEST = 1 << 31
"""Waits are numbered from here on, so that a refusal of one is not taken for that of a call."""


class Watches:
    """The waits of one client; asked again after each reconnect, under the same numbers.

    Args:
        send: Sends a message; False when there is no connection: it is sent with the next.
        number: The newest message that the replica has applied.

    Attributes:
        refusals: Waits that the source would not take on; they are never met.
    """

    def __init__(self, send: Callable[[Message], bool], number: Callable[[], int]) -> None:
        self.refusals = 0
        self._send = send
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._last = FIRST_REQUEST
        self._open: dict[int, tuple[Watch, RemoteWait]] = {}
        self._held: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._open)

    def begin(
        self, kind: WatchKind, called: tuple[int, ...], args: Mapping[str, object] | None
    ) -> RemoteWait:
        """Wait for something at the source; from any thread.

        Raises:
            InvalidArgs: The arguments have no form on the wire.
        """
        encode(None if args is None else dict(args))
        wait = RemoteWait(self, kind, called, args)
        self.enlist(wait)
        return wait

    def enlist(self, wait: RemoteWait) -> None:
        """Ask the source for a wait."""
        call_on(self._loop, lambda: self._enlist(wait))

    def _enlist(self, wait: RemoteWait) -> None:
        self._last += 1
        args = None if wait.args is None else dict(wait.args)
        message = Watch(self._last, wait.kind, list(wait.called), args, self._number())
        self._send(message)
        wait.request = self._last
        self._open[self._last] = message, wait

    def withdraw(self, wait: RemoteWait) -> None:
        """Nobody waits for it at present."""
        call_on(self._loop, lambda: self._withdraw(wait))

    def _withdraw(self, wait: RemoteWait) -> None:
        if self._open.pop(wait.request, None) is not None:
            self._send(Unwatch(wait.request))

    def give_up(self, wait: RemoteWait) -> None:
        """Release a wait although nothing has happened, and let the source forget it."""
        call_on(self._loop, lambda: self._release(wait.request))

    def ask_again(self) -> None:
        """The source may not know of the waits, nor we of its answers; it knows repetitions."""
        for message, _ in list(self._open.values()):
            self._send(message._replace(number=self._number()))

    def happened(self, request: int, head: int) -> bool:
        """The source says so; whether that has to wait until the replica has applied `head`."""
        if request not in self._open:
            self._send(Unwatch(request))
            return False
        if head <= self._number():
            self._release(request)
            return False
        heapq.heappush(self._held, (head, request))
        return True

    def applied(self, number: int) -> bool:
        """The replica has applied the stream up to `number`; whether something still waits."""
        while self._held and self._held[0][0] <= number:
            self._release(heapq.heappop(self._held)[1])
        return bool(self._held)

    def refused(self, request: int, reason: str) -> bool:
        """The source will not do it; whether the request is one of these."""
        found = self._open.pop(request, None)
        if found is None:
            return False
        self.refusals += 1
        _log.error("the source refuses a wait, which will never be met: %s", reason)
        return True

    def end(self) -> None:
        """The client is stopped: all waits end, as on a machine that is disposed."""
        for request in list(self._open):
            self._release(request, tell=False)
        self._held.clear()

    def renumber(self, new: Mapping[int, int]) -> None:
        """The schema has changed; `new` gives each old state index its new one."""
        for request, (message, wait) in list(self._open.items()):
            wait.called = tuple(new[state] for state in wait.called)
            self._open[request] = message._replace(called=list(wait.called)), wait

    def _release(self, request: int, tell: bool = True) -> bool:
        found = self._open.pop(request, None)
        if found is None:
            return False
        if tell:
            self._send(Unwatch(request))
        found[1].release()
        return True


class RemoteWait(Wait):
    """A wait that the source ends.

    Attributes:
        kind, called, args: As in `Watch`.
        request: Its present number.
    """

    __slots__ = ("_watches", "args", "called", "kind", "request")

    def __init__(
        self,
        watches: Watches,
        kind: WatchKind,
        called: tuple[int, ...],
        args: Mapping[str, object] | None,
    ) -> None:
        self._watches = watches
        self.kind = kind
        self.called = called
        self.args = args
        self.request = 0
        super().__init__(self)

    def give_up(self) -> None:
        """Release it now: the context that it was made with has ended."""
        self._watches.give_up(self)

    def _withdraw(self, wait: Wait) -> None:
        self._watches.withdraw(self)

    def _rejoin(self, wait: Wait) -> None:
        self._watches.enlist(self)
