"""From any thread to the loop thread and back: how a twin calls what is behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from amzmq.blocking.call import Call, TimedOut, settled
from amzmq.blocking.thread import LoopThread, acquire_thread, release_thread
from amzmq.errors import BlockingWait, ForkedError, NotConnected
from amzmq.machine.wait import runs_here

_T = TypeVar("_T")

STOP_WAIT = 30.0
"""Seconds that a stop may take; saying goodbye and closing has shorter limits of its own."""


class Line:
    """One twin's line to the loop thread: open from its start to its stop.

    Args:
        name: Of the twin, for messages.
        farewell: Stops what is behind the twin; awaited once, on the loop thread.

    Attributes:
        name: Of the twin.
    """

    def __init__(self, name: str, farewell: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._farewell = farewell
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._pid = 0
        self._tasks: set[asyncio.Future[object]] = set()  # touched on the loop thread only
        self._closing = False
        self._over = threading.Event()

    def check(self) -> None:
        """Raises `ForkedError` in a child of the process that opened the line."""
        if self._is_forked():
            raise ForkedError(self.name)

    def may_block(self, what: str) -> None:
        """Raises `BlockingWait` on the thread of an event loop, `ForkedError` in a child."""
        self.check()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise BlockingWait(
            f"{self.name}: {what} would block this thread's event loop. Handlers, tracers and "
            "callbacks run on the loop thread: use add_ns there, or a thread of your own. In an "
            "asyncio program use the Client and Mux of amzmq itself"
        )

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed since."""
        return self._thread is not None and not self._closing

    def _is_forked(self) -> bool:
        return self._pid not in (0, os.getpid())

    def open(self) -> None:
        """Use the loop thread from now on.

        Raises:
            NotConnected: It was closed already.
            BlockingWait: This thread runs an event loop.
            ForkedError: It was opened before a fork.
        """
        self.may_block("start()")
        with self._lock:
            if self._closing:
                raise self._stopped()
            if self._thread is None:
                self._pid = os.getpid()
                self._thread = acquire_thread()

    def _stopped(self) -> NotConnected:
        return NotConnected(f"{self.name} was stopped; make a new one")

    def run(
        self, what: str, start: Callable[[], Awaitable[_T]], timeout: float | None = None
    ) -> _T:
        """Start something on the loop thread and block until it has ended.

        Args:
            what: Names it, for messages.
            start: Called on the loop thread; what it returns is awaited there.
            timeout: Seconds; None waits as long as it takes.

        Raises:
            TimedOut: It did not end in time.
            BlockingWait: This thread runs an event loop.
            NotConnected: Not started, or stopped.
            ForkedError: Started before a fork.
        """
        self.may_block(what)
        call = Call(start, self._tasks)
        if not self._complete(what, call, timeout):
            raise self._stopped()
        return call.future.result()

    def begin(self, what: str, start: Callable[[], Awaitable[_T]]) -> Future[_T] | None:
        """Start something on the loop thread for somebody who comes back for it.

        Returns:
            Its future, for `settled`; None if the line is closed.

        Raises:
            BlockingWait: This thread runs an event loop.
            NotConnected: Not started.
            ForkedError: Started before a fork.
        """
        self.may_block(what)
        call = Call(start, self._tasks)
        return call.future if self._submit(what, call) else None

    def call(self, what: str, function: Callable[[], _T]) -> _T:
        """Call a function that does not wait where nothing else touches its objects.

        That is the loop thread, at once if this is it, and any thread while there is no line.

        Raises:
            BlockingWait: This thread runs another event loop.
            ForkedError: Started before a fork.
        """
        self.check()
        if self._thread is None or runs_here(self._thread.loop):
            return function()
        self.may_block(what)

        async def once() -> _T:
            return function()

        call = Call(once, self._tasks)
        if self._complete(what, call, None):
            return call.future.result()
        self._over.wait(STOP_WAIT)
        return function()

    def close(self, farewell: Callable[[], Awaitable[None]] | None = None) -> None:
        """Say farewell, end what still runs, give the loop thread back; once.

        Further calls wait for the first to end. In a forked child nothing is done: what there
        is to close belongs to the parent.

        Args:
            farewell: Instead of the line's own.

        Raises:
            BlockingWait: This thread runs an event loop.
            TimedOut: It did not end in time.
        """
        if self._is_forked():
            return
        self.may_block("stop()")
        call = Call(partial(_finish, farewell or self._farewell, self._tasks), set())
        with self._lock:
            is_first = not self._closing
            if is_first:
                # Never started or not, what is behind the twin is disposed of in the same way.
                thread = self._thread = self._thread or acquire_thread()
                self._closing = True
                thread.loop.call_soon_threadsafe(call.begin)
        if not is_first:
            self._over.wait(STOP_WAIT)
            return
        try:
            self._see_off(call)
        finally:
            self._pid = 0
            try:
                release_thread(thread)
            finally:
                self._over.set()

    def _see_off(self, call: Call[None]) -> None:
        try:
            in_time = settled(call.future, STOP_WAIT)
        except BaseException:  # Ctrl-C: half closed would be worse than a moment later
            settled(call.future, STOP_WAIT)
            raise
        if not in_time:
            raise TimedOut(
                f"{self.name} did not stop within {STOP_WAIT:g} s; does a handler block the loop "
                "thread?"
            )
        call.future.result()

    def _submit(self, what: str, call: Call[_T]) -> bool:
        """Have a call begun, before the line's end at any rate; False after it was closed."""
        with self._lock:
            if self._closing:
                return False
            if self._thread is None:
                raise NotConnected(f"{self.name}: {what} needs it started; use 'with', or start()")
            self._thread.loop.call_soon_threadsafe(call.begin)
            return True

    def _complete(self, what: str, call: Call[_T], timeout: float | None) -> bool:
        """Have a call begun and wait for its end; False if the line is closed."""
        try:
            if not self._submit(what, call):
                return False
            if settled(call.future, timeout):
                return True
        except BaseException:  # what a signal raised, e.g. Ctrl-C
            self._give_up(call)
            raise
        self._give_up(call)
        raise TimedOut(
            f"{self.name}: {what} took longer than timeout={timeout} s; what it asked for may "
            "still happen: look before trying again, or give it more time"
        )

    def _give_up(self, call: Call[_T]) -> None:
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the call has ended
                self._thread.loop.call_soon_threadsafe(call.give_up)

    def __del__(self) -> None:
        if self._thread is None or self._closing or self._is_forked():
            return
        warnings.warn(
            f"{self.name} was never stopped; use 'with', or stop()",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
        # Perhaps on the loop thread itself, or in the middle of anything: nothing waits here.
        thread = self._thread
        call = Call(partial(_finish, self._farewell, self._tasks), set())
        call.future.add_done_callback(lambda _: release_thread(thread))
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            thread.loop.call_soon_threadsafe(call.begin)


async def _finish(
    farewell: Callable[[], Awaitable[None]], tasks: set[asyncio.Future[object]]
) -> None:
    """The farewell ends most of what runs; the rest is cancelled, and awaited."""
    # What was given up may be cleaning up after itself: two at once would disturb each other.
    if given_up := {task for task in tasks if isinstance(task, asyncio.Task) and task.cancelling()}:
        await asyncio.wait(given_up, timeout=STOP_WAIT)
    try:
        await farewell()
    finally:
        left = set(tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
