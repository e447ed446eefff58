"""An end with farewells: callbacks run before the machine is disposed (spec machine 1.6)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from amzmq.errors import InvalidArgs
from amzmq.machine.event import Event
from amzmq.machine.machine import Machine
from amzmq.machine.schema import State, States
from amzmq.machine.wait import StateCtx

_log = logging.getLogger("amzmq.states")

DisposedArgHandler = "DisposedArgHandler"
"""Argument of RegisterDisposal: the callback."""

DisposalCallback: TypeAlias = Callable[[str, StateCtx], Awaitable[None] | None]
"""Takes the machine's id and the context of its state Disposing; may be a coroutine function."""


class DisposedStates(States):
    """Add Disposing to end the machine; Disposed follows when all callbacks have run.

    Start and Exception are removed where the schema that these states are merged into has them.
    """

    Exception = State(multi=True)
    RegisterDisposal = State(multi=True)
    Disposing = State(remove=["Start", Exception])
    Disposed = State(remove=["Start", Exception, Disposing])


class DisposedHandlers:
    """Handlers of the `DisposedStates` of one machine.

    The callbacks run in the order of their registration and outside of any transition, so they
    may take their time. Where an event loop runs, now or at a registration, they run on it as one
    task; otherwise on a thread of their own. An error of one is added to the machine and logged,
    and the next one runs. None runs any more once Disposing has ended.

    >>> from amzmq.machine import Machine
    >>> machine = Machine(DisposedStates, id="m", handlers=DisposedHandlers())
    >>> closed = []
    >>> goodbye = {DisposedArgHandler: lambda machine_id, ctx: closed.append(machine_id)}
    >>> machine.add("RegisterDisposal", args=goodbye), machine.add("Disposing")
    (Result.EXECUTED, Result.EXECUTED)
    >>> machine.when_disposed().wait(timeout=5), closed
    (True, ['m'])
    """

    def __init__(self) -> None:
        self._callbacks: list[DisposalCallback] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def RegisterDisposalEnter(self, e: Event) -> bool:
        """Accept only a callback."""
        callback = e.args.get(DisposedArgHandler)
        if callable(callback):
            return True
        if not e.is_check:
            error = InvalidArgs(
                f"RegisterDisposal: {DisposedArgHandler}={callback!r}; give a function that takes "
                "the machine's id and the context of Disposing"
            )
            e.machine.add_err(error, event=e)
        return False

    def RegisterDisposalState(self, e: Event) -> None:
        """Keep the callback."""
        callback: DisposalCallback = e.args[DisposedArgHandler]  # type: ignore[assignment]
        self._callbacks.append(callback)
        self._loop = _running_loop() or self._loop

    def DisposingState(self, e: Event) -> None:
        """Begin to run the callbacks."""
        machine = e.machine
        ctx = machine.state_ctx("Disposing")
        self._loop = _running_loop() or self._loop
        # Not before the drain has ended: what a callback does to the machine is to happen at once.
        machine.when_queue_ends().add_done_callback(lambda: self._begin(machine, ctx))

    def DisposedState(self, e: Event) -> None:
        """Dispose the machine, once this transition has ended."""
        e.machine.dispose()

    def _begin(self, machine: Machine, ctx: StateCtx) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            name = f"{machine.id}.Disposing"
            threading.Thread(target=self._run_on_thread, args=(machine, ctx), name=name).start()
        else:
            loop.call_soon_threadsafe(self._start_task, machine, ctx)

    def _run_on_thread(self, machine: Machine, ctx: StateCtx) -> None:
        for callback in self._callbacks:
            if ctx.expired:
                return
            with _told(machine):
                outcome = callback(machine.id, ctx)
                if outcome is not None:
                    asyncio.run(_end_of(outcome))
        if not ctx.expired:
            machine.add("Disposed")

    def _start_task(self, machine: Machine, ctx: StateCtx) -> None:
        name = f"{machine.id}.Disposing"
        self._task = asyncio.get_running_loop().create_task(self._run(machine, ctx), name=name)

    async def _run(self, machine: Machine, ctx: StateCtx) -> None:
        for callback in self._callbacks:
            if ctx.expired:
                return
            with _told(machine):
                outcome = callback(machine.id, ctx)
                if outcome is not None:
                    await outcome
        if not ctx.expired:
            machine.add("Disposed")


@contextmanager
def _told(machine: Machine) -> Iterator[None]:
    """Go on after an error, and tell of it."""
    try:
        yield
    except Exception as error:
        # Disposing keeps Exception out; `err()` has the error, and the log.
        _log.exception("[%s] a callback of its disposal failed", machine.id)
        machine.add_err(error)


async def _end_of(outcome: Awaitable[None]) -> None:
    await outcome


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
