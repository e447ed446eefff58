"""Payloads for a plain ``for`` loop (spec rpc 8)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from concurrent.futures import Future
from types import TracebackType

from amzmq.blocking.call import TimedOut, settled
from amzmq.blocking.line import Line
from amzmq.errors import NotConnected
from amzmq.rpc.payload import Payload
from amzmq.rpc.payload import PayloadIterator as AioIterator

BATCH = 256
"""Payloads that are brought from the loop thread at once, if so many wait."""


class PayloadIterator:
    """``for payload in client.payloads("price")``; ends when the client stops.

    Payloads are kept from the moment of creation on, up to the `limit` of `Client.payloads`; the
    oldest is dropped then, and counted in `dropped`. Several threads may take from one
    iterator; each payload goes to one of them.
    """

    def __init__(self, line: Line, iterator: AioIterator, timeout: float | None) -> None:
        self._line = line
        self._aio = iterator
        self._timeout = timeout
        self._lock = threading.Lock()
        # Kept when a timeout ends the wait for it: it may be about to hold a payload.
        self._asked: Future[list[Payload]] | None = None
        self._ready: deque[Payload] = deque()

    @property
    def dropped(self) -> int:
        """Payloads lost because they were read too slowly."""
        return self._aio.dropped

    def next(self, timeout: float | None = None) -> Payload | None:
        """The next payload.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Returns:
            None at the end: the client was stopped, or this iterator closed.

        Raises:
            TimedOut: None came in time. Nothing is lost by that: ask again.
            BlockingWait: This thread runs an event loop.
        """
        self._line.may_block("payloads()")
        until = None if timeout is None else time.monotonic() + timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            raise self._timed_out(timeout)
        try:
            if not self._ready:
                left = None if until is None else max(0.0, until - time.monotonic())
                self._fetch(left, timeout)
            return self._ready.popleft() if self._ready else None
        finally:
            self._lock.release()

    def _fetch(self, left: float | None, timeout: float | None) -> None:
        """Have the next ones brought here; none at the end."""
        if self._asked is None:
            self._asked = self._line.begin("payloads()", self._some)
        if self._asked is None:
            self._ready.extend(self._line.call("payloads()", self._rest))
            return
        if not settled(self._asked, left):
            raise self._timed_out(timeout)
        if isinstance(self._asked.exception(), NotConnected):  # stopped while waiting
            brought = self._line.call("payloads()", self._rest)
        else:
            brought = self._asked.result()
        self._asked, self._ready = None, deque(brought)

    async def _some(self) -> list[Payload]:
        first = await anext(self._aio, None)
        return [] if first is None else [first, *self._at_hand()]

    def _rest(self) -> list[Payload]:
        """What was left waiting at the end; no loop is needed to take it."""
        self._aio.end()
        return self._at_hand()

    def _at_hand(self) -> list[Payload]:
        """Those that need not be waited for: a message to the loop thread each would be slow."""
        taken: list[Payload] = []
        while len(taken) < BATCH:
            steps = self._aio.__anext__()
            try:
                steps.send(None)
            except StopIteration as payload:
                taken.append(payload.value)
            except StopAsyncIteration:
                break
            else:
                steps.close()  # it waits
                break
        return taken

    def _timed_out(self, timeout: float | None) -> TimedOut:
        return TimedOut(
            f"{self._line.name}: no payload within timeout={timeout} s; none is lost, ask again"
        )

    def close(self) -> None:
        """Stop keeping payloads; what waits is still handed out."""
        self._line.call("close()", self._end)

    def _end(self) -> None:
        # It has nothing to wait for, and after a stop no loop to do so.
        with contextlib.suppress(StopIteration):
            self._aio.aclose().send(None)

    def __enter__(self) -> PayloadIterator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> PayloadIterator:
        return self

    def __next__(self) -> Payload:
        payload = self.next(self._timeout)
        if payload is None:
            raise StopIteration
        return payload
