"""Taking one thing after another from the loop thread: what the twins' ``for`` loops rest on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from amzmq.blocking.call import TimedOut, settled
from amzmq.blocking.line import Line
from amzmq.errors import NotConnected

_T = TypeVar("_T")


class Taker(Generic[_T]):
    """Takes from an async iterator; any number of threads may, each thing goes to one of them.

    Args:
        line: Of the twin that it belongs to.
        what: Names it, for messages.
        step: The next one, or StopAsyncIteration; once the line is closed it must not wait.
        batch: How many are brought from the loop thread at once, if so many are at hand.
    """

    def __init__(
        self, line: Line, what: str, step: Callable[[], Coroutine[object, None, _T]], batch: int
    ) -> None:
        self._line = line
        self._what = what
        self._step = step
        self._batch = batch
        self._lock = threading.Lock()
        # Kept when a timeout ends the wait for it: it may be about to hold something.
        self._asked: Future[list[_T]] | None = None
        self._ready: deque[_T] = deque()

    def next(self, timeout: float | None = None) -> _T | None:
        """The next one; None at the end.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            TimedOut: None came in time. Nothing is lost by that: ask again.
            BlockingWait: This thread runs an event loop.
        """
        self._line.may_block(self._what)
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
            self._asked = self._line.begin(self._what, self._some)
        if self._asked is None:
            self._ready.extend(self._line.call(self._what, self._rest))
            return
        if not settled(self._asked, left):
            raise self._timed_out(timeout)
        error = self._asked.exception()
        if isinstance(error, NotConnected):  # stopped while waiting
            brought = self._line.call(self._what, self._rest)
        elif error is not None:
            self._asked = None
            raise error
        else:
            brought = self._asked.result()
        # In one go, as a signal may come at any time.
        self._asked, self._ready = None, deque(brought)

    async def _some(self) -> list[_T]:
        try:
            first = await self._step()
        except StopAsyncIteration:
            return []
        return [first, *self._at_hand(self._batch - 1)]

    def _rest(self) -> list[_T]:
        """What was left waiting at the end; no loop is needed to take it."""
        return self._at_hand(self._batch)

    def _at_hand(self, most: int) -> list[_T]:
        """Those that need not be waited for: a message to the loop thread each would be slow."""
        taken: list[_T] = []
        while len(taken) < most:
            steps = self._step()
            try:
                steps.send(None)
            except StopIteration as item:
                taken.append(item.value)
            except StopAsyncIteration:
                break
            else:
                steps.close()  # it waits
                break
        return taken

    def _timed_out(self, timeout: float | None) -> TimedOut:
        return TimedOut(
            f"{self._line.name}: {self._what} brought nothing within timeout={timeout} s; "
            "nothing is lost, ask again"
        )


class Keeping(Protocol):
    """An asyncio iterator that keeps what comes until it is asked for it."""

    @property
    def dropped(self) -> int:
        """How many were lost because they were read too slowly."""

    def end(self) -> None:
        """No more will come; what waits is still handed out."""

    async def aclose(self) -> None:
        """Stop keeping what comes."""


class TwinIterator(Taker[_T]):
    """The twin of such an iterator.

    Args:
        line, what, step, batch: As of `Taker`.
        kept: The iterator.
        timeout: Seconds that a ``for`` loop waits for the next one; None as long as it takes.
    """

    def __init__(
        self,
        line: Line,
        what: str,
        step: Callable[[], Coroutine[object, None, _T]],
        batch: int,
        kept: Keeping,
        timeout: float | None,
    ) -> None:
        super().__init__(line, what, step, batch)
        self._kept = kept
        self._timeout = timeout

    @property
    def dropped(self) -> int:
        """How many were lost because they were read too slowly."""
        return self._kept.dropped

    def _rest(self) -> list[_T]:
        self._kept.end()  # a client that was never started has not said so
        return super()._rest()

    def close(self) -> None:
        """Stop keeping what comes; what waits is still handed out."""
        self._line.call("close()", self._end)

    def _end(self) -> None:
        # It has nothing to wait for, and after a stop no loop to do so.
        with contextlib.suppress(StopIteration):
            self._kept.aclose().send(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T:
        item = self.next(self._timeout)
        if item is None:
            raise StopIteration
        return item
