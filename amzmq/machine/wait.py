"""Something to wait for: awaitable, blocking, or by callback (design decision 3)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Protocol

from amzmq.errors import BlockingWait

_log = logging.getLogger("amzmq.machine")

_guard = threading.Lock()
"""Guards the callbacks of all waits: held only to append, remove or take them."""


class WaitOwner(Protocol):
    """Where waits are registered."""

    def _withdraw(self, wait: Wait) -> None:
        """Nobody waits for it at present: drop it."""

    def _rejoin(self, wait: Wait) -> None:
        """Somebody waits for it again: register it, or release it if its condition is met."""


class Wait:
    """A one-shot condition on a machine's states or clock (spec machine 6).

    ``await wait`` in a coroutine, `wait.wait(timeout)` in a thread, `done()` to look,
    `add_done_callback()` to be told. Equal waits are one shared object. When the last one who
    waits gives up (a cancellation, a timeout), the wait leaves nothing behind in the machine
    and `cancelled()` says so; whoever waits for it again brings it back.
    """

    __slots__ = ("_callbacks", "_cancelled", "_done", "_owner")

    def __init__(self, owner: WaitOwner | None = None) -> None:
        self._done = False
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._owner = owner

    def done(self) -> bool:
        """Whether the condition was met, or the machine disposed."""
        return self._done

    def cancelled(self) -> bool:
        """Whether everybody who waited gave up before the condition was met."""
        return self._cancelled

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when done: at once if it is, else on the releasing thread."""
        with _guard:
            done = self._done
            rejoin = self._cancelled
            if not done:
                self._callbacks.append(callback)
                self._cancelled = False
        if done:
            callback()
        elif rejoin and self._owner is not None:
            self._owner._rejoin(self)

    def remove_done_callback(self, callback: Callable[[], None]) -> None:
        """Forget a callback; the wait is withdrawn with its last one."""
        with _guard:
            if self._done or callback not in self._callbacks:
                return
            self._callbacks.remove(callback)
            if self._callbacks or self._owner is None:
                return
            self._cancelled = True
        self._owner._withdraw(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Block the calling thread until done.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            Whether it is done; False after the timeout.

        Raises:
            BlockingWait: This thread runs an event loop, which would stand still.
        """
        if self._done:
            return True
        if _on_event_loop():
            raise BlockingWait(
                "Wait.wait() would block this thread's event loop; write 'await' before the "
                "wait, or call it from another thread"
            )
        released = threading.Event()
        self.add_done_callback(released.set)
        try:
            if timeout is not None:
                return released.wait(timeout)
            # A signal that comes just before an untimed wait for a lock is seen only on waking.
            while not released.wait(0.5):
                pass
            return True
        finally:
            self.remove_done_callback(released.set)

    def __await__(self) -> Generator[Any, None, None]:
        if self._done:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            call_on(loop, lambda: None if future.done() else future.set_result(None))

        self.add_done_callback(wake)
        try:
            yield from future
        finally:
            self.remove_done_callback(wake)

    def release(self) -> None:
        """Mark as done and tell everybody; the owner of the condition calls it."""
        with _guard:
            if self._done:
                return
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                # The others wait too, and the mutation that released them is not at fault.
                _log.exception("a callback of %r failed", self)

    def __repr__(self) -> str:
        state = "done" if self._done else "cancelled" if self._cancelled else "pending"
        return f"<{type(self).__name__} {state}>"


class StateCtx(Wait):
    """The life of one state until its tick next changes (spec machine 6.2).

    Made for an active state it expires when the state is left (or entered again, for a multi
    state); made for an inactive one, when the state is next entered. ``async with`` runs a
    block that ends with it: the block is cancelled, and execution goes on after it.

    Attributes:
        machine_id: The machine.
        state: The state's name.
        tick: Its tick when the context was made.
    """

    __slots__ = ("_scopes", "machine_id", "state", "tick")

    def __init__(self, machine_id: str, state: str, tick: int) -> None:
        super().__init__()
        self.machine_id = machine_id
        self.state = state
        self.tick = tick
        # One context is shared by all who ask for it, so by several tasks.
        self._scopes: dict[asyncio.Task[Any], list[_Scope]] = {}

    @property
    def expired(self) -> bool:
        """Whether the state's tick has changed since."""
        return self._done

    def wait(self, timeout: float | None = None) -> Expiry:  # type: ignore[override]
        """Wait for the expiry: ``await ctx.wait()`` in a coroutine, ``ctx.wait(2)`` in a thread.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            1 once expired, 0 after the timeout; awaitable, so that it waits in a coroutine,
            where blocking would stop the event loop.
        """
        if not self._done and _on_event_loop():
            return Expiry(0, self, timeout)
        return Expiry(super().wait(timeout), self, timeout)

    async def __aenter__(self) -> StateCtx:
        task = asyncio.current_task()
        assert task is not None
        scope = _Scope(task)
        self._scopes.setdefault(task, []).append(scope)
        self.add_done_callback(scope.expire)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        task = asyncio.current_task()
        assert task is not None
        scope = self._scopes[task].pop()
        if not self._scopes[task]:
            del self._scopes[task]
        self.remove_done_callback(scope.expire)
        return scope.closes(error)


class Expiry(int):
    """Whether a state context has expired; awaited, it waits for that. See `StateCtx.wait`."""

    def __new__(cls, expired: bool | int, ctx: StateCtx, timeout: float | None) -> Expiry:
        """A number that knows what it tells of."""
        self = super().__new__(cls, expired)
        self._ctx = ctx
        self._timeout = timeout
        return self

    _ctx: StateCtx
    _timeout: float | None

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                await self._ctx
        except TimeoutError:
            return False
        return True


class _Scope:
    """One ``async with`` of a state context: cancels its task, and knows that it did."""

    __slots__ = ("_before", "_fired", "_loop", "_open", "_task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._loop = task.get_loop()
        self._before = task.cancelling()
        self._open = True
        self._fired = False

    def expire(self) -> None:
        # Not at once: the task may be the one that runs, and a cancellation of a running task
        # strikes wherever it next awaits, be it after the block.
        _call_soon(self._loop, self._cancel)

    def _cancel(self) -> None:
        if self._open:
            self._fired = True
            self._task.cancel()

    def closes(self, error: BaseException | None) -> bool:
        """The block has ended; whether its cancellation was this scope's own."""
        self._open = False
        if not self._fired:
            return False
        alone = self._task.uncancel() <= self._before
        return alone and isinstance(error, asyncio.CancelledError)


def call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call on the thread of `loop`: at once when it is this one; never once it is closed."""
    if runs_here(loop):
        callback()
    else:
        _call_soon(loop, callback)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # which says that the loop is closed
        loop.call_soon_threadsafe(callback)


def runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` runs on this thread right now."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
