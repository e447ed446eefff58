"""Something to wait for: awaitable, blocking, or by callback (design decision 3)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any

from amzmq.errors import BlockingWait

_guard = threading.Lock()
"""Guards the callbacks of all waits: held only to append, remove or take them."""


class Wait:
    """A one-shot condition on a machine's states or clock (spec machine 6).

    ``await wait`` in a coroutine, `wait.wait(timeout)` in a thread, `done()` to look,
    `add_done_callback()` to be told. Equal waits are one shared object. When the last one who
    waits gives up (a cancellation, a timeout), the wait itself is withdrawn from the machine
    and `cancelled()` says so.
    """

    __slots__ = ("_callbacks", "_cancelled", "_done", "_withdraw")

    def __init__(self, withdraw: Callable[[Wait], None] | None = None) -> None:
        self._done = False
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._withdraw = withdraw

    def done(self) -> bool:
        """Whether the condition was met, or the machine disposed."""
        return self._done

    def cancelled(self) -> bool:
        """Whether everybody who waited gave up before the condition was met."""
        return self._cancelled

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when done: at once if it is, else on the releasing thread."""
        with _guard:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback()

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
            return released.wait(timeout)
        finally:
            self._give_up(released.set)

    def __await__(self) -> Generator[Any, None, None]:
        if self._done:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        thread = threading.get_ident()

        def wake() -> None:
            if threading.get_ident() == thread:
                _resolve(future)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future)

        self.add_done_callback(wake)
        try:
            yield from future
        finally:
            self._give_up(wake)

    def release(self) -> None:
        """Mark as done and tell everybody; the owner of the condition calls it."""
        with _guard:
            if self._done:
                return
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _give_up(self, callback: Callable[[], None]) -> None:
        """Forget one callback; without any left, withdraw the wait."""
        with _guard:
            if self._done or callback not in self._callbacks:
                return
            self._callbacks.remove(callback)
            if self._callbacks:
                return
            self._cancelled = True
        if self._withdraw is not None:
            self._withdraw(self)

    def __repr__(self) -> str:
        state = "done" if self._done else "cancelled" if self._cancelled else "pending"
        return f"<{type(self).__name__} {state}>"


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class StateCtx(Wait):
    """The life of one state until its tick next changes (spec machine 6.2).

    Made for an active state it expires when the state is left (or entered again, for a multi
    state); made for an inactive one, when the state is next entered.

    Attributes:
        machine_id: The machine.
        state: The state's name.
        tick: Its tick when the context was made.
    """

    __slots__ = ("machine_id", "state", "tick")

    def __init__(self, machine_id: str, state: str, tick: int) -> None:
        super().__init__()
        self.machine_id = machine_id
        self.state = state
        self.tick = tick

    @property
    def expired(self) -> bool:
        """Whether the state's tick has changed since."""
        return self._done
