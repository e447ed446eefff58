"""Tasks of `async def` handlers and forks, owned by their machine (design decision 3)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from amzmq.machine.event import HasSource
from amzmq.machine.handlers import Call
from amzmq.machine.wait import StateCtx, Wait, call_on


class HasName(HasSource, Protocol):
    """An event as handlers get it."""

    @property
    def name(self) -> str:
        """The event's name, e.g. ``OpenState``."""


class TaskOwner(Protocol):
    """A machine or a replica that runs async handlers."""

    @property
    def id(self) -> str:
        """Names the tasks."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """In index order."""

    @property
    def is_disposing(self) -> bool:
        """Whether no more tasks are to be started."""

    def state_ctx(self, state: str) -> StateCtx:
        """What cancels the task of a state's handler."""

    def _task_failed(self, error: Exception, event: HasSource | None) -> None:
        """A task raised."""


_Event = TypeVar("_Event", bound=HasName)


class HandlerTasks:
    """Starts the tasks, cancels each when its state's tick changes, and awaits them all.

    Args:
        machine: The owner; is told of an exception in a task.
    """

    __slots__ = ("_guard", "_idle", "_machine", "_running")

    def __init__(self, machine: TaskOwner) -> None:
        # Tasks end on the threads of their loops, and any thread may dispose the machine.
        self._guard = threading.Lock()
        self._machine = machine
        self._running: set[asyncio.Task[None]] = set()
        self._idle: list[Callable[[], None]] = []

    def start(self, call: Call, event: _Event, state: int | None) -> None:
        """Run an async handler on the loop it was bound on, from any thread."""
        loop = call.loop
        assert loop is not None
        machine = self._machine
        context = None if state is None else machine.state_ctx(machine.state_names[state])
        self.spawn(loop, partial(call.function, event), event.name, event, context)

    def spawn(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[[], Awaitable[object]],
        name: str,
        event: HasSource | None,
        context: Wait | None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a coroutine function as a task, from any thread.

        Args:
            loop: Where it runs.
            function: What runs.
            name: Names the task, after the id of the machine.
            event: The source of the error, should it raise.
            context: Cancels the task once it is done.
            ended: Called when the task has ended, or was not started.
        """
        call_on(loop, lambda: self._create(loop, function, name, event, context, ended))

    def _create(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[[], Awaitable[object]],
        name: str,
        event: HasSource | None,
        context: Wait | None,
        ended: Callable[[], None],
    ) -> None:
        if self._machine.is_disposing or (context is not None and context.done()):
            ended()
            return
        task = loop.create_task(self._run(function, event), name=f"{self._machine.id}.{name}")
        with self._guard:
            self._running.add(task)

        def cancel() -> None:
            _cancel(task)

        def finished(_: asyncio.Task[None]) -> None:
            if context is not None:
                context.remove_done_callback(cancel)
            ended()
            self._finished(task)

        task.add_done_callback(finished)
        if context is not None:
            context.add_done_callback(cancel)

    async def _run(
        self, function: Callable[[], Awaitable[object]], event: HasSource | None
    ) -> None:
        try:
            await function()
        except Exception as error:
            self._machine._task_failed(error, event)

    def _finished(self, task: asyncio.Task[None]) -> None:
        idle: list[Callable[[], None]] = []
        with self._guard:
            self._running.discard(task)
            if not self._running:
                idle, self._idle = self._idle, idle
        for callback in idle:
            callback()

    def cancel_all(self, then: Callable[[], None]) -> None:
        """Cancel every task; `then` is called when the last one has ended."""
        with self._guard:
            # A task whose loop is closed never runs again: nothing is to be waited for.
            self._running = {task for task in self._running if not task.get_loop().is_closed()}
            running = list(self._running)
            if running:
                self._idle.append(then)
        for task in running:
            _cancel(task)
        if not running:
            then()


def _cancel(task: asyncio.Task[None]) -> None:
    call_on(task.get_loop(), task.cancel)
