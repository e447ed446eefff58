"""The way from a source's transition to the target, in order."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

from amzmq.machine import (
    EXCEPTION,
    EXCEPTION_ARGS,
    ExceptionArgs,
    Machine,
    MutationType,
    Result,
    Source,
)
from amzmq.machine.api import Api
from amzmq.machine.wait import runs_here

_log = logging.getLogger("amzmq.pipes")

FAILED_PIPES = "_am__Pipes"
"""Argument of an error that a pipe has made: the keys of the pipes whose failures led to it."""


class Delivery(NamedTuple):
    """One mutation of a target.

    Attributes:
        key: Of the handler that made it.
        source, target: The machines.
        kind: The type of the mutation.
        states: The called states.
        args: Its arguments.
        event: The transition of the source that caused it.
        failures: Keys of the pipes whose failures led to it.
    """

    key: int
    source: Api
    target: Api
    kind: MutationType
    states: tuple[str, ...]
    args: Mapping[str, object] | None = None
    event: Source | None = None
    failures: tuple[int, ...] = ()

    def mutate(self) -> Awaitable[Result]:
        """Make the mutation."""
        target, states, args, event = self.target, self.states, self.args, self.event
        error = None if args is None else args.get(EXCEPTION_ARGS)
        if args is not None and isinstance(error, ExceptionArgs):
            adds_error = self.kind is MutationType.ADD and EXCEPTION in states
            # The engine's own arguments have no form on the wire.
            if adds_error or not target.is_local:
                args = {name: value for name, value in args.items() if name != EXCEPTION_ARGS}
            if adds_error:
                return target.add_err_state(states[-1], error.err, args=args, event=event)
        if self.kind is MutationType.ADD:
            return target.add(*states, args=args or None, event=event)
        if self.kind is MutationType.REMOVE:
            return target.remove(*states, args=args or None, event=event)
        return target.set(*states, args=args or None, event=event)

    def failed(self, error: BaseException) -> None:
        """Tell who can be told; not a machine elsewhere, which has no part in it."""
        source, target = self.source, self.target
        where = f"pipe from {source.id} to {target.id}: {self.kind} {' '.join(self.states)}"
        error.add_note(where)
        teller = next((machine for machine in (source, target) if machine.is_local), None)
        args = {FAILED_PIPES: (*self.failures, self.key)}
        if teller is None or teller.add_err(error, args=args) == Result.CANCELED:
            _log.error("%s failed: %s", where, error)


class Outbox:
    """What waits to be carried from one source, in the order of its transitions.

    `_busy` says that somebody has been sent, or is there, to empty it. It changes only under the
    lock, and is taken back where the outbox was found empty: nothing stays, nobody overtakes.

    Args:
        loop: Where it is emptied; None where the source is mutated.
    """

    __slots__ = ("__weakref__", "_busy", "_guard", "_loop", "_unanswered", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._guard = threading.Lock()
        self._waiting: deque[Delivery] = deque()
        self._busy = False
        self._unanswered: set[asyncio.Future[Result]] = set()

    def post(self, delivery: Delivery) -> None:
        """Take a mutation in; called by a handler of the source."""
        with self._guard:
            self._waiting.append(delivery)
            # A loop that was closed has forgotten that it was to come here.
            if self._busy and not (self._loop is not None and self._loop.is_closed()):
                return
            self._busy = True
        self._send_for_reader(delivery.source)

    def _send_for_reader(self, source: Api) -> None:
        loop = self._loop
        if loop is None and not isinstance(source, Machine):
            loop = _running_loop()  # a replica's handlers run on its loop
        if loop is not None and _call_soon(loop, self._empty):
            return
        if isinstance(source, Machine):
            source.when_queue_ends().add_done_callback(self._empty)
        else:
            self._empty()

    def _empty(self) -> None:
        """Deliver; on a loop only what waits now, so that machines in a circle do not stop it."""
        left = -1 if self._loop is None else len(self._waiting)
        while True:
            with self._guard:
                if not self._waiting:
                    self._busy = False
                    return
                if left == 0:
                    source = self._waiting[0].source
                    break
                delivery = self._waiting.popleft()
            left -= 1
            try:
                self.deliver(delivery)
            except BaseException:
                with self._guard:
                    self._busy = False  # the next one who comes takes what waits along
                raise
        self._send_for_reader(source)

    def deliver_flat(self, delivery: Delivery) -> None:
        """At once to a local target; a remote one gets it in order with everything else."""
        if delivery.target.is_local:
            self.deliver(delivery)
        else:
            self.post(delivery)

    def deliver(self, delivery: Delivery) -> None:
        """Make one mutation; the answer of a remote target is looked at when it comes."""
        if delivery.target.is_disposed:
            return
        try:
            outcome = delivery.mutate()
            if isinstance(outcome, Result):
                return
            answer = asyncio.ensure_future(outcome)
        except Exception as error:
            delivery.failed(error)
            return
        self._unanswered.add(answer)  # a loop keeps no task alive by itself
        answer.add_done_callback(lambda answer: self._answered(delivery, answer))

    def _answered(self, delivery: Delivery, answer: asyncio.Future[Result]) -> None:
        self._unanswered.discard(answer)
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if error is not None:
            delivery.failed(error)


_guard = threading.Lock()
# By source, then by the loop each was made on. Only the handlers keep an outbox.
_outboxes: WeakKeyDictionary[Api, WeakValueDictionary[int, Outbox]] = WeakKeyDictionary()


def outbox_of(source: Api) -> Outbox:
    """The outbox of a source for pipes bound here and now."""
    loop = _running_loop()
    with _guard:
        boxes = _outboxes.get(source)
        if boxes is None:
            boxes = _outboxes[source] = WeakValueDictionary()
        # The outbox holds the loop, so the number is nobody else's meanwhile.
        box = boxes.get(id(loop))
        if box is None:
            box = boxes[id(loop)] = Outbox(loop)
        return box


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> bool:
    """Call in a later turn of a loop; False if it is closed."""
    try:
        if runs_here(loop):
            loop.call_soon(callback)
        else:
            loop.call_soon_threadsafe(callback)
    except RuntimeError:
        if not loop.is_closed():
            raise
        return False
    return True


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
