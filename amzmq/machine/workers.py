"""A thread for the sync handlers of a machine, so that one that hangs can be left behind.

Only with ``Machine(..., handler_threads=True)``: every call then goes to the thread and back.
The handlers still run one at a time, while the thread that drains the queue waits for them.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from amzmq.errors import HandlerTimeout

if TYPE_CHECKING:
    from amzmq.machine.event import Event
    from amzmq.machine.handlers import Handler
    from amzmq.machine.machine import Machine

_log = logging.getLogger("amzmq.machine")


class Overdue(Exception):
    """A call has not returned within `handler_timeout`; never leaves the machine."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job


class Job:
    """One call of a handler on the thread for handlers."""

    __slots__ = ("_answer", "_context", "_done", "_error", "_function", "_guard", "_left", "event")

    def __init__(self, function: Handler, event: Event) -> None:
        self.event = event
        self._function = function
        self._context = contextvars.copy_context()
        self._done = threading.Event()
        self._answer: object = None
        self._error: BaseException | None = None
        self._guard = threading.Lock()
        self._left = False

    def run(self) -> bool:
        """Call the handler; False if nobody waited for its end."""
        try:
            self._answer = self._context.run(self._function, self.event)
        except BaseException as error:
            self._error = error
        with self._guard:
            if not self._left:
                self._done.set()
        return not self._left

    def report(self) -> None:
        """Log what the handler raised too late for anybody to deal with it."""
        if self._error is not None:
            _log.error("%s raised after its timeout", self.event.name, exc_info=self._error)

    def wait(self, timeout: float) -> bool:
        """Wait for the end; False if it is not reached."""
        return self._done.wait(timeout)

    def abandon(self) -> bool:
        """Wait no longer; False if it has ended already."""
        with self._guard:
            self._left = not self._done.is_set()
            return self._left

    def result(self) -> object:
        """What the handler returned; what it raised is raised here."""
        if self._error is not None:
            raise self._error
        return self._answer


class _Worker:
    """The thread."""

    __slots__ = ("_jobs", "_machine", "loop", "thread")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.loop: asyncio.AbstractEventLoop | None = None
        # A daemon: a handler that hangs for ever must not keep the process.
        self.thread = threading.Thread(target=self._run, name=f"{machine.id}.handlers", daemon=True)
        self.thread.start()

    def put(self, job: Job | None) -> None:
        """Run a job; None ends the thread after those before."""
        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.run():
                job.report()
                name = job.event.name
                text = f"deadlined handler finished, theoretical leak: {name}"
                self._machine.add_err(HandlerTimeout(text))
                return
            del job  # it holds the event until the next one comes


class HandlerThreads:
    """Owns the thread of a machine, and starts another one when it is left behind."""

    __slots__ = ("_guard", "_is_stopped", "_machine", "_worker")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._guard = threading.Lock()
        self._worker: _Worker | None = None
        self._is_stopped = False

    def wrap(self, function: Handler) -> Handler:
        """A function that calls `function` on the thread."""
        return partial(self._call, function)

    def is_here(self) -> bool:
        """Whether this code runs on the thread."""
        worker = self._worker
        return worker is not None and worker.thread is threading.current_thread()

    def loop_of_caller(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the thread that waits for the handler that asks."""
        worker = self._worker
        return worker.loop if worker is not None and self.is_here() else None

    def stop(self) -> None:
        """End the thread: the machine is disposed."""
        with self._guard:
            self._is_stopped = True
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.put(None)

    def _call(self, function: Handler, event: Event) -> object:
        """Call a handler.

        Raises:
            Overdue: It has not returned within `handler_timeout`.
        """
        job = Job(function, event)
        with self._guard:
            if self._is_stopped:  # by a forced dispose, just now
                return None
            worker = self._worker
            if worker is None:
                worker = self._worker = _Worker(self._machine)
            worker.loop = _running_loop()
            worker.put(job)
        if not self.wait(job, self._machine.handler_timeout):
            raise Overdue(job)
        return job.result()

    def wait(self, job: Job, timeout: float) -> bool:
        """Wait for the end of a call; False if it is not reached."""
        try:
            return job.wait(timeout)
        except BaseException:
            # An interrupt of the thread that waits: the machine goes on without the handler.
            self.leave(job)
            raise

    def leave(self, job: Job) -> bool:
        """Leave the thread behind with a call that does not end; False if it has just ended."""
        if not job.abandon():
            return False
        with self._guard:
            self._worker = None
        return True


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
