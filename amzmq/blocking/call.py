"""Something awaited on the loop thread for a thread that blocks, and how that one waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from amzmq.errors import CallTimeout, NotConnected

_T = TypeVar("_T")

SIGNAL_WAIT = 0.5
"""Seconds after which a waiting thread looks for signals: Python does not see one that comes
just before a thread goes to sleep until it wakes."""


class TimedOut(CallTimeout, TimeoutError):
    """A blocking call took longer than its own `timeout`; what it asked for may still happen."""


class Call(Generic[_T]):
    """Something awaited on the loop thread, for somebody who blocks on another."""

    __slots__ = ("_given_up", "_start", "_tasks", "_work", "future")

    def __init__(
        self, start: Callable[[], Awaitable[_T]], tasks: set[asyncio.Future[object]]
    ) -> None:
        self.future: Future[_T] = Future()
        self._start = start
        self._tasks = tasks
        self._work: asyncio.Future[_T] | None = None
        self._given_up = False

    def begin(self) -> None:
        """On the loop thread."""
        if self._given_up:
            return
        try:
            work = self._work = asyncio.ensure_future(self._start())
        except BaseException as error:
            self.future.set_exception(error)
            return
        self._tasks.add(work)  # type: ignore[arg-type]
        work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Future[_T]) -> None:
        self._tasks.discard(work)
        if work.cancelled():
            self.future.set_exception(NotConnected("stopped before the call came to an end"))
        elif (error := work.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(work.result())

    def give_up(self) -> None:
        """On the loop thread: nobody waits any more."""
        self._given_up = True
        if self._work is not None:
            self._work.cancel()


def settled(future: Future[_T], timeout: float | None) -> bool:
    """Wait for a future; False if it is not done after `timeout` seconds."""
    until = None if timeout is None else time.monotonic() + timeout
    while not future.done():
        left = SIGNAL_WAIT if until is None else min(SIGNAL_WAIT, until - time.monotonic())
        if left <= 0:
            return False
        wait((future,), left)
    return True
