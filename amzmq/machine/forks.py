"""What a machine runs beside its queue: forked threads and tasks (spec machine 5.8)."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from amzmq.errors import InvalidArgs
from amzmq.machine.event import HasSource
from amzmq.machine.wait import Wait

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine


class _Thread:
    """A forked thread: it starts after its delay, unless it is told before that not to."""

    __slots__ = ("off", "run")

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run
        self.off = threading.Event()


class Forks:
    """Owns the forked threads of a machine; its tasks are among those of the handlers.

    Args:
        machine: The owner; what a fork raises becomes `add_err` on it.

    Attributes:
        limit: How many of a pool may run at once in all; None for any number.
        limits: The same by the name of the handler that forks.
    """

    __slots__ = ("_guard", "_idle", "_is_closed", "_machine", "_pooled", "_running", "limit",
                 "limits")  # fmt: skip

    def __init__(self, machine: Machine) -> None:
        self._guard = threading.Lock()
        self._machine = machine
        self._running: set[_Thread] = set()
        self._idle: list[Callable[[], None]] = []
        self._is_closed = False
        self._pooled: Counter[str] = Counter()
        self.limit: int | None = None
        self.limits: dict[str, int] = {}

    def launch(
        self,
        function: Callable[[], Any],
        name: str,
        *,
        delay: float = 0.0,
        ctx: Wait | None = None,
        event: HasSource | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> bool:
        """Run a function on a thread, or a coroutine function as a task.

        Args:
            function: What is run.
            name: Names the thread or task, after the id of the machine.
            delay: Seconds until then.
            ctx: Nothing is run once it is done; a task is cancelled by it.
            event: The source of the error, should it raise.
            ended: Called when it has ended, or was not run after all.

        Returns:
            Whether it was started, or will be.
        """
        is_async = inspect.iscoroutinefunction(function)
        loop = self._loop() if is_async else None
        if self._machine.is_disposing or (ctx is not None and ctx.done()):
            return False
        if loop is not None:
            tasks = self._machine._own_tasks()
            tasks.spawn(loop, _delayed(function, delay), name, event, ctx, ended)
            return True
        thread = _Thread(function)
        with self._guard:
            if self._is_closed:
                return False
            self._running.add(thread)
        args = (thread, delay, ctx, event, ended)
        title = f"{self._machine.id}.{name}"
        # A daemon: a fork that never ends must not keep the process.
        threading.Thread(target=self._run, args=args, name=title, daemon=True).start()
        return True

    def take_place(self, handler: str) -> bool:
        """Whether there is room in the pools for one more fork of a handler; it is taken."""
        with self._guard:
            if self.limit is not None and self._pooled.total() >= self.limit:
                return False
            limit = self.limits.get(handler)
            if limit is not None and self._pooled[handler] >= limit:
                return False
            self._pooled[handler] += 1
            return True

    def give_place(self, handler: str) -> None:
        """A fork of the pool has ended."""
        with self._guard:
            self._pooled[handler] -= 1

    def cancel_all(self, then: Callable[[], None]) -> None:
        """Start nothing more; `then` is called when the last thread has ended."""
        with self._guard:
            self._is_closed = True
            running = list(self._running)
            if running:
                self._idle.append(then)
        for thread in running:
            thread.off.set()
        if not running:
            then()

    def _loop(self) -> asyncio.AbstractEventLoop:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            # The loop may be on the thread that waits for this handler.
            threads = self._machine._threads
            loop = None if threads is None else threads.loop_of_caller()
            if loop is None:
                raise InvalidArgs(
                    "fork: the function is async and no event loop runs here; give a sync one"
                ) from None
            return loop

    def _run(
        self,
        thread: _Thread,
        delay: float,
        ctx: Wait | None,
        event: HasSource | None,
        ended: Callable[[], None],
    ) -> None:
        off = thread.off
        try:
            if ctx is not None:
                ctx.add_done_callback(off.set)
            if not off.wait(delay):
                thread.run()
        except Exception as error:
            self._machine.add_err(error, event=event)
        finally:
            if ctx is not None:
                ctx.remove_done_callback(off.set)
            ended()
            self._finished(thread)

    def _finished(self, thread: _Thread) -> None:
        idle: list[Callable[[], None]] = []
        with self._guard:
            self._running.discard(thread)
            if not self._running:
                idle, self._idle = self._idle, idle
        for callback in idle:
            callback()


def _delayed(
    function: Callable[[], Awaitable[object]], delay: float
) -> Callable[[], Awaitable[object]]:
    if not delay:
        return function

    async def later() -> None:
        await asyncio.sleep(delay)
        await function()

    return later
