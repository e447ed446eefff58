"""The machine: states, relations, clocks, a queue of mutations (spec machine).

Three roads lead through a mutation:

- the *step*: nobody watches (no handlers, tracers or waits), so a looked-up plan is applied
  under the lock;
- the *transition*: the general road, with everything in it;
- the *queue*: while a drain runs, on any thread, a mutation waits for it and returns its tick.

Invariants: `_lock` guards the clock, the queue and the drain flag, and no user code runs while
it is held. One drain at a time, on the thread that found none running. A machine that is not
draining has an empty queue.
"""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from amzmq.errors import BindError, Canceled, InvalidArgs
from amzmq.machine.clock import Time
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.machine.event import EXCEPTION_ARGS, Event, ExceptionArgs
from amzmq.machine.handlers import Handlers
from amzmq.machine.mutation import NO_ARGS, Mutation, MutationQueue, Source
from amzmq.machine.observer import ClockObserver
from amzmq.machine.plans import Deltas, Node
from amzmq.machine.resolver import MutationType
from amzmq.machine.result import Result
from amzmq.machine.schema import EXCEPTION, START, Schema, States, definitions_of
from amzmq.machine.tasks import HandlerTasks
from amzmq.machine.tracer import Tracer
from amzmq.machine.transition import Transition
from amzmq.machine.view import MachineView, _released
from amzmq.machine.wait import Wait

_log = logging.getLogger("amzmq.machine")

_ADD = MutationType.ADD
_REMOVE = MutationType.REMOVE
_SET = MutationType.SET


class Machine(MachineView):
    """A state machine with relations and logical clocks.

    Mutations, checks and waits may be called from any thread.

    Args:
        schema: A mapping of names to `State`, or a `States` class.
        id: Names the machine; 16 random hex digits when empty.
        states: All names in index order, if not the order of the schema.
        handlers: An object with handler methods, or a mapping, to bind at once.
        parent: The machine this one belongs to; it is disposed with it.
        tags: Labels without a meaning of their own.
        queue_limit: Waiting mutations at which further ones are canceled.
        handler_timeout: Seconds a handler may take.
        handler_deadline: Seconds after which a handler that took longer costs the queue.
        handler_backoff: Seconds after a passed deadline in which mutations are canceled.
        log_stack_trace: Whether errors carry their traceback.
        tracers: Tracers to bind before anything else happens.

    Raises:
        SchemaError: `schema` is not a schema, or `states` does not fit it. A schema that
            contradicts itself is no exception: the machine starts with Exception active.

    >>> door = Machine({"Open": State(remove="Closed"), "Closed": State(remove="Open")})
    >>> door.add("Open"), str(door)
    (Result.EXECUTED, '(Open:1)')
    """

    __slots__ = (
        "_backoff_until",
        "_compiled",
        "_dispose_callbacks",
        "_disposing",
        "_draining",
        "_err",
        "_exception_index",
        "_handlers",
        "_internal_errors",
        "_node",
        "_observers",
        "_on_change",
        "_on_error",
        "_plain",
        "_queue",
        "_tasks",
        "_tracers",
        "_tx",
        "handler_backoff",
        "handler_deadline",
        "handler_timeout",
        "log_stack_trace",
        "parent",
        "queue_limit",
        "tags",
    )

    def __init__(
        self,
        schema: Schema | type[States],
        id: str = "",
        states: Sequence[str] | None = None,
        handlers: object | None = None,
        parent: Machine | None = None,
        tags: Iterable[str] = (),
        queue_limit: int = 1000,
        handler_timeout: float = 0.1,
        *,
        handler_deadline: float = 10.0,
        handler_backoff: float = 3.0,
        log_stack_trace: bool = True,
        tracers: Iterable[Tracer] = (),
    ) -> None:
        self._compiled: CompiledSchema = compile_schema(definitions_of(schema), states)
        super().__init__(id or secrets.token_hex(8), self._compiled)
        self._exception_index = self._compiled.index[EXCEPTION]
        self._node: Node = self._compiled.plans.node(())
        self._queue = MutationQueue()
        self._draining = False
        self._tx: Transition | None = None
        self._handlers: Handlers | None = None
        self._tasks = HandlerTasks(self)
        self._tracers: tuple[Tracer, ...] = ()
        self._observers: tuple[ClockObserver, ...] = ()
        self._on_change: Callable[[Machine, Time, Time], None] | None = None
        self._on_error: Callable[[Machine, BaseException], None] | None = None
        self._err: BaseException | None = None
        self._internal_errors: deque[BaseException] = deque(maxlen=10)
        self._backoff_until = 0.0
        self._disposing = False
        self._dispose_callbacks: list[Callable[[], None]] = []
        self._plain = True
        self.queue_limit = queue_limit
        self.handler_timeout = handler_timeout
        self.handler_deadline = handler_deadline
        self.handler_backoff = handler_backoff
        self.log_stack_trace = log_stack_trace
        self.tags = tuple(dict.fromkeys(tags))
        self.parent = parent
        self._begin(tracers, handlers)

    def _begin(self, tracers: Iterable[Tracer], handlers: object | None) -> None:
        """The end of construction: everybody concerned is told."""
        for tracer in tracers:
            self.bind_tracer(tracer)
        if self.parent is not None:
            for tracer in self.parent._tracers:
                tracer.new_submachine(self.parent, self)
            self.parent.on_dispose(self.dispose)
        for tracer in self._tracers:
            tracer.machine_init(self)
        if self._compiled.require_cycle is not None:
            _log.warning(
                "[%s] relation error: state %s has a Require cycle; its members can only be "
                "activated together",
                self.id,
                self._compiled.require_cycle,
            )
        for error in self._compiled.errors:
            self.add_err(error)
        if handlers is not None:
            self.bind(handlers)

    def _active_names(self) -> frozenset[str]:
        return self._node.names

    def _active_order(self) -> Sequence[str]:
        return self._node.ordered_names

    @property
    def is_local(self) -> bool:
        """True: mutations run in this process."""
        return True

    # Mutations (spec machine 3).

    def add(
        self,
        *states: str,
        args: Mapping[str, object] | None = None,
        event: Event | None = None,
        **kwargs: object,
    ) -> Result:
        """Activate states.

        Args:
            states: Names; relations may pull in or push out more.
            args: Arguments for the handlers; so are further keywords.
            event: The event of the handler that makes this mutation, for tracing.

        Returns:
            EXECUTED, CANCELED, or queued with its queue tick when a drain is running.

        Raises:
            StateUnknown: A name is not in the schema.
        """
        if self._plain and args is None and not kwargs:
            return self._step(_ADD, states, event)
        return self._mutate(_ADD, states, _merged(args, kwargs), event)

    def remove(
        self,
        *states: str,
        args: Mapping[str, object] | None = None,
        event: Event | None = None,
        **kwargs: object,
    ) -> Result:
        """Deactivate states; see `add`."""
        if self._plain and args is None and not kwargs:
            return self._step(_REMOVE, states, event)
        return self._mutate(_REMOVE, states, _merged(args, kwargs), event)

    def set(
        self,
        *states: str,
        args: Mapping[str, object] | None = None,
        event: Event | None = None,
        **kwargs: object,
    ) -> Result:
        """Activate exactly these states; see `add`. None deactivates all."""
        if self._plain and args is None and not kwargs:
            return self._step(_SET, states, event)
        return self._mutate(_SET, states, _merged(args, kwargs), event)

    def toggle(
        self,
        *states: str,
        args: Mapping[str, object] | None = None,
        event: Event | None = None,
        **kwargs: object,
    ) -> Result:
        """Remove the states if all are active, add them otherwise; see `add`."""
        change = self.remove if self.is_(*states) else self.add
        return change(*states, args=args, event=event, **kwargs)

    def add_err(
        self,
        err: BaseException,
        *,
        args: Mapping[str, object] | None = None,
        event: Event | None = None,
    ) -> Result:
        """Activate Exception with an error (spec machine 7)."""
        return self.add_err_state(EXCEPTION, err, args=args, event=event)

    def add_err_state(
        self,
        state: str,
        err: BaseException,
        *,
        args: Mapping[str, object] | None = None,
        event: Event | None = None,
    ) -> Result:
        """Activate an error state and Exception with an error.

        The error is kept for `err()` and reaches the handlers as `event.error`. A plain
        `Canceled` is no error and adds nothing.
        """
        if not isinstance(err, BaseException):
            raise InvalidArgs(f"add_err: err={err!r}; give an exception, e.g. ValueError('why')")
        self._indexes((state,))
        if type(err) is Canceled or self._refuses():
            return Result.CANCELED
        self._err = err
        trace = "".join(traceback.format_exception(err)) if self.log_stack_trace else ""
        if self._on_error is not None:
            self._on_error(self, err)
        details = {**(args or {}), EXCEPTION_ARGS: ExceptionArgs(err, trace)}
        return self._mutate(_ADD, (state, EXCEPTION), details, event, keep_room=False)

    def can_add(self, *states: str, args: Mapping[str, object] | None = None) -> Result:
        """Whether `add` would be accepted now: a dry run, negotiation handlers included.

        In a handler the answer is only queued, as the present transition has to end first.
        """
        return self._check(_ADD, states, args)

    def can_remove(self, *states: str, args: Mapping[str, object] | None = None) -> Result:
        """Whether `remove` would be accepted now; see `can_add`."""
        return self._check(_REMOVE, states, args)

    # Errors, transition, callbacks.

    def err(self) -> BaseException | None:
        """The last error; kept after Exception is removed."""
        return self._err

    def err_internal(self) -> BaseException | None:
        """Take the oldest of the last 10 timeouts that no state tells of; None without any."""
        return self._internal_errors.popleft() if self._internal_errors else None

    def transition(self) -> Transition | None:
        """The transition running now; None outside of one."""
        tx = self._tx
        if tx is not None:
            tx.pin()
        return tx

    def runs(self, tx: Transition) -> bool:
        """Whether `tx` is the transition running now."""
        return self._tx is tx

    def on_change(self, callback: Callable[[Machine, Time, Time], None] | None) -> None:
        """Call `callback(machine, before, after)` at the end of each transition; one slot."""
        self._on_change = callback
        self._choose_road()

    def on_error(self, callback: Callable[[Machine, BaseException], None] | None) -> None:
        """Call `callback(machine, error)` in `add_err`; one slot."""
        self._on_error = callback

    @property
    def queue_len(self) -> int:
        """How many mutations wait; the running one is not counted."""
        return len(self._queue)

    def when_args(self, state: str, **args: object) -> Wait:
        """Wait until `state`'s final handlers run with all of `args` equal."""
        indexes = self._indexes((state,))
        with self._lock:
            if not self.is_disposed:
                return self._subs.wait_args(indexes[0], args)
        return _released()

    def when_queue_ends(self) -> Wait:
        """Wait until the present drain ends; done at once when none runs."""
        with self._lock:
            if self._draining and not self.is_disposed:
                return self._subs.wait_queue_ends()
        return _released()

    # Handlers, tracers, observers.

    def bind(self, handlers: object, id: str = "") -> str:
        """Bind handlers: the methods of an object, or a mapping of event names to functions.

        Returns:
            The id of the binding, for `detach`.

        Raises:
            BindError: Not bindable, or an async handler where no event loop runs.
        """
        if self._disposing:
            return ""
        if self._handlers is None:
            self._handlers = Handlers(self._compiled)
        first = not self._handlers.ever_bound
        id = self._handlers.bind(handlers, id)
        self._choose_road()
        if first and self.is_err() and self._err is not None:
            self.add_err(self._err)
        return id

    def detach(self, id: str) -> None:
        """Undo a `bind`.

        Raises:
            BindError: Nothing is bound under this id.
        """
        if self._handlers is None:
            raise BindError(f"handlers not bound: id={id!r}; nothing is bound")
        self._handlers.detach(id)

    def handlers(self) -> list[str]:
        """Ids of the bindings, in bind order."""
        return [] if self._handlers is None else self._handlers.ids()

    def bind_tracer(self, tracer: Tracer) -> str:
        """Bind a tracer; returns its id.

        Raises:
            BindError: Not a `Tracer`, or one without an id.
        """
        if not isinstance(tracer, Tracer) or not tracer.id:
            raise BindError(f"tracer={tracer!r}: give a Tracer object with an id")
        self._tracers = (*self._tracers, tracer)
        self._choose_road()
        return tracer.id

    def detach_tracer(self, id: str) -> None:
        """Detach the first tracer of this id.

        Raises:
            BindError: No tracer has it.
        """
        for at, tracer in enumerate(self._tracers):
            if tracer.id == id:
                self._tracers = self._tracers[:at] + self._tracers[at + 1 :]
                self._choose_road()
                return
        raise BindError(f"tracer not bound: id={id!r}; bound are: {[t.id for t in self._tracers]}")

    def tracers(self) -> list[Tracer]:
        """The bound tracers, in bind order."""
        return list(self._tracers)

    def observe_clock(self, observer: ClockObserver) -> None:
        """Let an observer collect which ticks change."""
        with self._lock:
            self._observers = (*self._observers, observer)

    def unobserve_clock(self, observer: ClockObserver) -> None:
        """Stop telling an observer."""
        with self._lock:
            self._observers = tuple(other for other in self._observers if other is not observer)

    # Export and import (spec machine 9.4).

    def export(self) -> dict[str, Any]:
        """Id, names, ticks, queue tick and machine tick, as plain values."""
        with self._lock:
            ticks = list(self._ticks)
        return {
            "id": self.id,
            "state_names": list(self._names),
            "time": ticks,
            "queue_tick": self._queue_tick,
            "machine_tick": self._machine_tick,
        }

    def import_(self, data: Mapping[str, Any]) -> None:
        """Take over an exported clock; no handlers, tracers or waits hear of it.

        The machine tick becomes the exported one plus 1; the queue tick is not restored. The
        state MachineRestored is added afterwards, if the schema has it.

        Raises:
            InvalidArgs: Another machine's id, other states, or a mutation is running.
        """
        names, ticks = list(data["state_names"]), list(data["time"])
        if data["id"] != self.id:
            raise InvalidArgs(f"import: exported from {data['id']!r}, this machine is {self.id!r}")
        if names != list(self._names) or len(ticks) != len(names):
            raise InvalidArgs(
                f"import: the states differ: {names} exported, {list(self._names)} here"
            )
        with self._lock:
            if self._draining:
                raise InvalidArgs("import: a transition is running; import from outside of it")
            active = tuple(at for at, tick in enumerate(ticks) if tick & 1)
            changed = sum(1 << at for at, tick in enumerate(ticks) if tick != self._ticks[at])
            self._ticks = ticks
            self._node = self._compiled.plans.node(active)
            self._machine_tick = int(data["machine_tick"]) + 1
            for observer in self._observers:
                observer.touch(changed)
        if self.has("MachineRestored"):
            self.add("MachineRestored")

    # The end (spec machine 9.6).

    def on_dispose(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the machine is disposed, in order of registration."""
        self._dispose_callbacks.append(callback)

    def dispose(self) -> None:
        """Dispose the machine: remove Start, end the drain, cancel tasks, release all waits.

        Finished when `when_disposed()` is: at once, or when the running drain and the tasks of
        async handlers have ended. From then on mutations are canceled and reads are empty.
        """
        if self._disposing:
            return
        if self.has(START) and self.is_(START):
            self.remove(START)
        with self._lock:
            if self._disposing:
                return
            self._disposing = True
            self._plain = False
            draining = self._draining
        if not draining:
            self._tasks.cancel_all(self._finish_dispose)

    def _finish_dispose(self) -> None:
        for tracer in self._tracers:
            tracer.machine_dispose(self.id)
        self._handlers = None
        self._disposed_wait.release()
        with self._lock:
            self._node = self._compiled.plans.node(())
            self._index = {}
            self._ticks = []
        self._subs.release_all()
        callbacks, self._dispose_callbacks = self._dispose_callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.exception("[%s] a dispose callback failed", self.id)

    # The fast road.

    def _choose_road(self) -> None:
        """Whether somebody could tell a step from a transition."""
        bound = self._handlers is not None and self._handlers.ever_bound
        watched = bound or self._tracers or self._on_change is not None
        self._plain = not (watched or self._disposing)

    def _step(self, kind: MutationType, states: tuple[str, ...], event: Event | None) -> Result:
        """Apply a remembered step; the general road when somebody waits or a drain runs."""
        with self._lock:
            if self._plain and not self._draining and not self._subs.pending:
                node = self._node
                try:
                    step = node.steps[kind].get(states)
                except TypeError:  # something unhashable is no name
                    step = None
                if step is None:
                    called = self._called(states)
                    step = self._compiled.plans.step(node, kind, states, called)
                result, following, deltas, mask = step
                self._queue_tick += 1
                if deltas:
                    ticks = self._ticks
                    for state, delta in deltas:
                        ticks[state] += delta
                self._node = following
                for observer in self._observers:
                    observer.mask |= mask
                    if not observer.pending:
                        observer.pending = True
                        observer.wake()
                return result
        return self._mutate(kind, states, NO_ARGS, event)

    # The general road.

    def _called(self, states: tuple[str, ...]) -> tuple[int, ...]:
        called = self._indexes(states)
        return tuple(dict.fromkeys(called)) if len(called) > 1 else called

    def _refuses(self) -> bool:
        """Whether no mutation is taken now: disposing, in backoff, or the queue is full."""
        return self._disposing or self.backoff() or len(self._queue) >= self.queue_limit

    def backoff(self) -> bool:
        """Whether a handler's passed deadline still holds back mutations."""
        return self._backoff_until > 0.0 and time.monotonic() < self._backoff_until

    def _mutate(
        self,
        kind: MutationType,
        states: tuple[str, ...],
        args: Mapping[str, object],
        event: Event | None,
        keep_room: bool = True,
    ) -> Result:
        """Queue a mutation, and drain unless somebody else does (spec machine 3.3 to 3.5).

        Args:
            keep_room: Whether a change of Exception may exceed the queue limit.
        """
        if self._disposing or (kind is not _SET and self.backoff()):
            return Result.CANCELED
        if (
            kind is _REMOVE
            and self._tx is not None
            and not self._queue.waiting
            and self._node.names.isdisjoint(states)
        ):
            return Result.EXECUTED
        called = self._called(states)
        with self._lock:
            if len(self._queue.waiting) >= self.queue_limit and not (
                keep_room and event is None and self._exempt(kind, called)
            ):
                return Result.CANCELED
            if self._queue.waiting and self._is_duplicate(kind, called, args):
                return Result.EXECUTED
            source = None if event is None else event.source()
            mutation = Mutation(kind, called, args, source)
            self._queue.append(mutation, self._queue_tick)
            if not self._tracers:
                if self._draining:
                    return Result(mutation.queue_tick)
                self._draining = True
        if not self._tracers:
            return self._drain()
        for tracer in self._tracers:
            tracer.mutation_queued(self, mutation)
        return self._drain_or(Result(mutation.queue_tick))

    def _exempt(self, kind: MutationType, called: tuple[int, ...]) -> bool:
        """Whether a full queue still takes this: Exception being switched."""
        if kind is _SET or self._exception_index not in called:
            return False
        return (self._exception_index in self._node.states) is (kind is _REMOVE)

    def _is_duplicate(
        self, kind: MutationType, called: tuple[int, ...], args: Mapping[str, object]
    ) -> bool:
        if args or not self._compiled.multi.isdisjoint(called):
            return False
        return self._queue.duplicates(kind, called)

    def _check(
        self, kind: MutationType, states: tuple[str, ...], args: Mapping[str, object] | None
    ) -> Result:
        if self._disposing or self.backoff():
            return Result.CANCELED
        self._prepend(Mutation(kind, self._called(states), args or {}, is_check=True))
        return self._drain_or(Result.QUEUED)

    def _prepend(self, mutation: Mutation) -> None:
        """Put a mutation in front of the queue, without a tick (spec machine 3.6)."""
        with self._lock:
            self._queue.prepend(mutation)
        for tracer in self._tracers:
            tracer.mutation_queued(self, mutation)

    def _prepend_exception(self, details: ExceptionArgs, source: Source) -> None:
        """A handler raised: Exception is what runs next."""
        self._err = details.err
        args = {EXCEPTION_ARGS: details}
        self._prepend(Mutation(_ADD, (self._exception_index,), args, source))

    def _drain_or(self, queued: Result) -> Result:
        """Drain the queue; `queued` if a drain is running, CANCELED if nothing waits."""
        with self._lock:
            if self._draining:
                return queued
            if not self._queue.waiting:
                return Result.CANCELED
            self._draining = True
        return self._drain()

    def _drain(self) -> Result:
        """Run waiting mutations until none is left; the outcome of the first.

        The caller has set `_draining`; it is taken back under the same lock under which the
        queue was found empty, so that no mutation can slip in between.
        """
        first: Result | None = None
        queue = self._queue
        try:
            while True:
                with self._lock:
                    if not queue.waiting or self._disposing:
                        self._tx = None
                        self._draining = False
                        break
                    mutation = queue.pop()
                    if mutation.queue_tick:
                        self._queue_tick += 1
                plan = self._compiled.plans.plan(
                    self._node, mutation.type, mutation.called, mutation.is_auto
                )
                tx = self._tx = Transition(self, mutation, plan)
                result = tx.run()
                if first is None:
                    first = result
        finally:
            if self._draining:  # something that is no Exception went through a handler
                self._tx = None
                self._draining = False
        self._drain_ended()
        return Result.CANCELED if first is None else first

    def _drain_ended(self) -> None:
        for tracer in self._tracers:
            tracer.queue_end(self)
        if self._subs.pending:
            self._subs.queue_ended()
        if self._disposing and not self.is_disposed:
            self._tasks.cancel_all(self._finish_dispose)

    def _commit(self, node: Node, deltas: Deltas, mask: int) -> None:
        """Make a change of the clock visible, all of it at once."""
        with self._lock:
            ticks = self._ticks
            for state, delta in deltas:
                ticks[state] += delta
            self._node = node
            for observer in self._observers:
                observer.touch(mask)

    # Slow handlers (spec machine 5.5).

    def _report_internal(self, error: BaseException) -> None:
        self._internal_errors.append(error)
        _log.warning("[%s] %s", self.id, error)

    def _deadline_passed(self, error: BaseException) -> None:
        """A handler blocked for so long that what waits is no longer wanted."""
        with self._lock:
            dropped = self._queue.discard_all()
        if dropped:
            _log.error("[%s] %d waiting mutations dropped after: %s", self.id, len(dropped), error)
        self.add_err(error)
        self._backoff_until = time.monotonic() + self.handler_backoff


def _merged(
    args: Mapping[str, object] | None, kwargs: Mapping[str, object]
) -> Mapping[str, object]:
    if args is None:
        return kwargs or NO_ARGS
    if not isinstance(args, Mapping):
        raise InvalidArgs(f"args={args!r}: give a mapping like {{'user': 42}}, or keywords")
    return {**args, **kwargs}
