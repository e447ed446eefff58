"""Tasks of `async def` handlers, owned by their machine (design decision 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from amzmq.machine.handlers import Call

if TYPE_CHECKING:
    from amzmq.machine.event import Event
    from amzmq.machine.machine import Machine


class HandlerTasks:
    """Starts the tasks, cancels each when its state's tick changes, and awaits them all.

    Args:
        machine: The owner; an exception in a task becomes `add_err` on it.
    """

    __slots__ = ("_idle", "_machine", "_running")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._running: set[asyncio.Task[None]] = set()
        self._idle: list[Callable[[], None]] = []

    def start(self, call: Call, event: Event, state: int | None) -> None:
        """Run an async handler on the loop it was bound on, from any thread."""
        machine = self._machine
        handlers = machine._handlers
        assert handlers is not None
        assert handlers.loop is not None
        context = None if state is None else machine.state_ctx(machine.state_names[state])

        def create() -> None:
            if context is not None and context.expired:
                return
            task = loop.create_task(self._run(call, event), name=f"{machine.id}.{event.name}")
            self._running.add(task)
            task.add_done_callback(self._finished)
            if context is not None:
                context.add_done_callback(lambda: _cancel(loop, task))

        loop = handlers.loop
        if _runs_here(loop):
            create()
        else:
            loop.call_soon_threadsafe(create)

    async def _run(self, call: Call, event: Event) -> None:
        try:
            await call.function(event)
        except Exception as error:
            self._machine.add_err(error, event=event)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._running:
            idle, self._idle = self._idle, []
            for callback in idle:
                callback()

    def cancel_all(self, then: Callable[[], None]) -> None:
        """Cancel every task; `then` is called when the last one has ended."""
        if not self._running:
            then()
            return
        self._idle.append(then)
        for task in list(self._running):
            _cancel(task.get_loop(), task)


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    if _runs_here(loop):
        task.cancel()
    elif not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
