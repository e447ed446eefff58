"""How mutations run: the roads, the queue and its drain (spec machine 3).

Three roads lead through a mutation:

- the *step*: nobody watches (no handlers, tracers or waits that it concerns), so a looked-up
  plan is applied under the lock;
- the *transition*: the general road, with everything in it; it begins at once when no drain
  is running;
- the *queue*: while a drain runs, on any thread, a mutation waits for it and returns its tick.

Invariants: `_lock` guards the clock, the queue and the drain flag, and no user code runs while
it is held. One drain at a time, on the thread that found none running. A machine that is not
draining has an empty queue, except between an append and its drain when tracers are told of it.
"""

from __future__ import annotations

import logging
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING

from amzmq.errors import Canceled
from amzmq.machine.args import CHECK_ARGS, EXCEPTION_ARGS, CheckArgs, ExceptionArgs
from amzmq.machine.clock import Time
from amzmq.machine.compiled import CompiledSchema
from amzmq.machine.event import Event, HasSource
from amzmq.machine.handlers import Call, Handlers
from amzmq.machine.logs import LogLevel, MachineLog
from amzmq.machine.mutation import NO_ARGS, Mutation, MutationQueue, Source
from amzmq.machine.observer import ClockObserver
from amzmq.machine.plans import Deltas, Node, Plan
from amzmq.machine.resolver import MutationType
from amzmq.machine.result import Result
from amzmq.machine.running import RunningTransition, check_transition
from amzmq.machine.schema import EXCEPTION
from amzmq.machine.tasks import HandlerTasks
from amzmq.machine.tracer import Tracer, tell
from amzmq.machine.view import MachineView, _released
from amzmq.machine.wait import Wait
from amzmq.machine.workers import HandlerThreads

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine
    from amzmq.machine.transition import Transition

_log = logging.getLogger("amzmq.machine")

_ADD = MutationType.ADD
_REMOVE = MutationType.REMOVE
_SET = MutationType.SET
_EVAL = MutationType.EVAL

_INTERNAL_ERRORS = 10


class Breakpoint:
    """States whose addition or removal is worth a log line (spec machine 9.7)."""

    __slots__ = ("added", "removed", "strict")

    def __init__(self, added: tuple[str, ...], removed: tuple[str, ...], strict: bool) -> None:
        self.added = added
        self.removed = removed
        self.strict = strict

    def hit_by(self, mutation: Mutation, names: Sequence[str], active: frozenset[str]) -> bool:
        """Whether a mutation calls exactly these states; if strict, not in vain."""
        called = tuple(names[state] for state in mutation.called)
        if self.added and mutation.type is _ADD and called == self.added:
            return not (self.strict and active.issuperset(called))
        if self.removed and mutation.type is _REMOVE and called == self.removed:
            return not (self.strict and active.isdisjoint(called))
        return False


class Engine(MachineView):
    """The part of a `Machine` that runs its mutations; it is only a part, never used alone."""

    __slots__ = (
        "_backoff_until",
        "_breakpoints",
        "_compiled",
        "_disposing",
        "_drainer",
        "_err",
        "_exception_index",
        "_handlers",
        "_internal_errors",
        "_log",
        "_machine_tick",
        "_node",
        "_observers",
        "_on_change",
        "_on_error",
        "_plain",
        "_queue",
        "_queue_tick",
        "_step_log",
        "_tasks",
        "_threads",
        "_told_tick",
        "_tracers",
        "_tx",
        "_watched",
        "handler_backoff",
        "handler_deadline",
        "handler_timeout",
        "log_stack_trace",
        "panic_to_exception",
        "queue_limit",
    )

    _queue_tick: int
    _machine_tick: int

    def __init__(self, id: str, schema: CompiledSchema) -> None:
        super().__init__(id, schema)
        self._queue_tick = 1
        self._machine_tick = 0
        self._compiled = schema
        self._exception_index = schema.index[EXCEPTION]
        self._node: Node = schema.plans.node(())
        self._queue = MutationQueue()
        # The thread that drains the queue; 0 when none does.
        self._drainer = 0
        # The queue tick that observers know of, if they looked.
        self._told_tick = 0
        self._tx: RunningTransition | None = None
        self._handlers: Handlers | None = None
        self._tasks: HandlerTasks | None = None
        self._threads: HandlerThreads | None = None
        self._tracers: tuple[Tracer, ...] = ()
        self._observers: tuple[ClockObserver, ...] = ()
        self._on_change: Callable[[Machine, Time, Time], None] | None = None
        self._on_error: Callable[[Machine, BaseException], None] | None = None
        self._log: MachineLog | None = None
        # Whether the steps of transitions are recorded: 0 no, 1 yes, 2 of dry runs too.
        self._step_log = 0
        self._breakpoints: tuple[Breakpoint, ...] = ()
        self._err: BaseException | None = None
        self._internal_errors: tuple[BaseException, ...] = ()
        self._backoff_until = 0.0
        self._disposing = False
        # Whether nobody could tell a step from a transition.
        self._plain = True
        # Whether somebody is told of each mutation: tracers, the log, breakpoints.
        self._watched = False
        self.queue_limit = 1000
        self.handler_timeout = 0.1
        self.handler_deadline = 10.0
        self.handler_backoff = 3.0
        self.log_stack_trace = True
        self.panic_to_exception = True

    def _choose_road(self) -> None:
        looks_on = self._tracers or self._log is not None or self._breakpoints
        self._watched = bool(looks_on or self._step_log)
        seen = self._watched or self._handlers is not None or self._on_change is not None
        self._plain = not (seen or self._disposing)

    @property
    def is_disposing(self) -> bool:
        """Whether the machine is being disposed, or is disposed already."""
        return self._disposing

    def backoff(self) -> bool:
        """Whether a handler's passed deadline still holds back mutations."""
        return self._backoff_until > 0.0 and time.monotonic() < self._backoff_until

    def transition(self) -> Transition | None:
        """The transition running now; None outside of one."""
        tx = self._tx
        if tx is not None:
            tx.pin()
        return tx

    def _records(self, is_check: bool) -> bool:
        """Whether the steps of a transition are recorded."""
        return self._step_log > is_check

    def _is_on_handler_thread(self) -> bool:
        return self._threads is not None and self._threads.is_here()

    def runs(self, tx: Transition) -> bool:
        """Whether `tx` is the transition running now."""
        return self._tx is tx

    # The step.

    def _step(self, kind: MutationType, states: tuple[str, ...], event: HasSource | None) -> Result:
        """Apply a remembered step; the general road when it concerns somebody."""
        with self._lock:
            if self._plain and not self._drainer:
                node = self._node
                try:
                    step = node.steps[kind].get(states)
                except TypeError:  # something unhashable is no name
                    step = None
                if step is None:
                    called = self._called(states)
                    step = self._compiled.plans.step(node, kind, states, called)
                result, following, deltas, mask = step
                subs = self._subs
                if not (subs.always or subs.watched & mask):
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
        return self._disposing or self.backoff() or len(self._queue.waiting) >= self.queue_limit

    def _mutate(
        self,
        kind: MutationType,
        states: tuple[str, ...],
        args: Mapping[str, object],
        event: HasSource | None,
        keep_room: bool = True,
    ) -> Result:
        """Run a mutation, or queue it when somebody drains (spec machine 3.3 to 3.5).

        `keep_room` says whether a change of Exception may exceed the queue limit.
        """
        if self._disposing or (self._backoff_until and kind is not _SET and self.backoff()):
            return Result.CANCELED
        source = None if event is None else event.source()
        with self._lock:
            node = self._node
            waiting = self._queue.waiting
            if (
                kind is _REMOVE
                and self._tx is not None
                and not waiting
                and node.names.isdisjoint(states)
            ):
                return Result.EXECUTED
            if self._drainer or self._watched or waiting:
                queued = self._append(kind, states, args, source, keep_room and event is None)
                mutation, plan = queued, None
            else:
                try:
                    plan = node.calls[kind].get(states)
                except TypeError:  # something unhashable is no name
                    plan = None
                if plan is None:
                    called = self._called(states)
                    plan = self._compiled.plans.call(node, kind, states, called)
                mutation = Mutation(kind, plan.called, args, source)
                mutation.queue_tick = self._queue_tick = self._queue_tick + 1
                self._drainer = get_ident()
        if isinstance(mutation, Result):
            if mutation == Result.EXECUTED and self._log is not None:
                text = f"[queue:skipped] Duplicate detected for [{kind}] {' '.join(states)}"
                self._log.write(LogLevel.OPS, text)
            return mutation
        if plan is not None:
            return self._drain(mutation, plan, mutation)
        if self._watched:
            self._announce(mutation, "queue")
        return self._drain_or(mutation, Result(mutation.queue_tick))

    def _append(
        self,
        kind: MutationType,
        states: tuple[str, ...],
        args: Mapping[str, object],
        source: Source | None,
        keep_room: bool,
    ) -> Mutation | Result:
        """Queue a mutation, or say why not; the caller holds the lock (spec machine 3.4)."""
        called = self._called(states)
        waiting = self._queue.waiting
        if len(waiting) >= self.queue_limit and not (keep_room and self._exempt(kind, called)):
            return Result.CANCELED
        if waiting and not args and self._compiled.multi.isdisjoint(called):
            if self._queue.duplicates(kind, called):
                return Result.EXECUTED
        mutation = Mutation(kind, called, args, source)
        self._queue.append(mutation, self._queue_tick)
        return mutation

    def _exempt(self, kind: MutationType, called: tuple[int, ...]) -> bool:
        """Whether a full queue still takes this: Exception being switched."""
        if kind is _SET or self._exception_index not in called:
            return False
        return (self._exception_index in self._node.states) is (kind is _REMOVE)

    def _announce(self, mutation: Mutation, how: str) -> None:
        """Tell those who watch of a queued mutation."""
        if self._log is not None:
            self._log.queued(how, mutation)
        tell(self._tracers, "mutation_queued", self, mutation)
        for point in self._breakpoints if how == "queue" else ():
            if point.hit_by(mutation, self._names, self._node.names):
                self._write_log(LogLevel.CHANGES, "[breakpoint] Machine.breakpoint")

    def _drain_or(self, mutation: Mutation, queued: Result) -> Result:
        """Drain the queue, in which `mutation` is; `queued` if somebody does already."""
        first = None
        with self._lock:
            count = len(self._queue.waiting)
            is_draining = self._drainer != 0
            if count and not is_draining:
                self._drainer = get_ident()
                first = self._take()
        if first is not None:
            return self._drain(first, None, mutation)
        if is_draining:
            if self._log is not None:
                self._log.postponed(count)
            return queued
        # Another thread, or a tracer, has drained it meanwhile.
        return Result.CANCELED if mutation.result is None else mutation.result

    def _prepend(self, mutation: Mutation) -> None:
        """Put a mutation in front of the queue, without a tick (spec machine 3.6)."""
        with self._lock:
            self._queue.prepend(mutation, self._queue_tick)
        if self._watched and mutation.type is not _EVAL:
            self._announce(mutation, "prepend")

    def _prepend_exception(self, details: ExceptionArgs, source: Source) -> None:
        """A handler raised: Exception is what runs next."""
        self._err = details.err
        args = {EXCEPTION_ARGS: details}
        self._prepend(Mutation(_ADD, (self._exception_index,), args, source))

    def _take(self) -> Mutation:
        """The head of the queue; the caller holds the lock."""
        mutation = self._queue.pop()
        if mutation.queue_tick:
            self._queue_tick += 1
        return mutation

    def _drain(self, first: Mutation, plan: Plan | None, wanted: Mutation) -> Result:
        """Run mutations until none waits; the outcome of `wanted`.

        The caller has set `_drainer`; it is taken back under the same lock under which the
        queue was found empty, so that no mutation can slip in between.

        Args:
            first: What to run now.
            plan: Its plan, if that is known.
            wanted: Whose outcome is asked for.
        """
        mutation = first
        waiting = self._queue.waiting
        try:
            while True:
                if mutation.type is _EVAL:
                    assert mutation.evaluate is not None
                    mutation.evaluate()
                    mutation.result = Result.EXECUTED
                else:
                    if plan is None:
                        plan = self._compiled.plans.plan(
                            self._node, mutation.type, mutation.called, mutation.is_auto
                        )
                    tx = self._tx = (
                        check_transition(self, mutation, plan)
                        if mutation.is_check
                        else RunningTransition(self, mutation, plan)  # type: ignore[arg-type]
                    )
                    mutation.result = tx.run()
                with self._lock:
                    if not waiting or self._disposing:
                        ended = self._stop_draining()
                        break
                    mutation = self._take()
                plan = None
        except BaseException:
            self._resume()
            raise
        if ended or self._watched or self._disposing:
            self._drain_ended(ended)
        return Result.CANCELED if wanted.result is None else wanted.result

    def _resume(self) -> None:
        """Something that is no Exception left a handler: what waits is run all the same."""
        ended: Sequence[Wait] = ()
        following = None
        with self._lock:
            if not self._queue.waiting or self._disposing:
                ended = self._stop_draining()
            else:
                following = self._take()
        if following is None:
            self._drain_ended(ended)
        else:
            self._drain(following, None, following)

    def _stop_draining(self) -> Sequence[Wait]:
        """Let others drain; returns who waits for it. The caller holds the lock."""
        self._tx = None
        self._drainer = 0
        if self._observers and self._queue_tick != self._told_tick:
            self._told_tick = self._queue_tick
            for observer in self._observers:
                observer.touch(0)
        return self._subs.take_queue_ends() if self._subs.queue_ends else ()

    def _drain_ended(self, ended: Sequence[Wait]) -> None:
        tell(self._tracers, "queue_end", self)
        for wait in ended:
            wait.release()
        if self._disposing and not self.is_disposed:
            self._dispose_now()

    def _commit(self, node: Node, deltas: Deltas, mask: int) -> None:
        """Make a change of the clock visible, all of it at once."""
        with self._lock:
            ticks = self._ticks
            if not ticks:
                return  # disposed by force while the transition ran
            for state, delta in deltas:
                ticks[state] += delta
            self._node = node
            for observer in self._observers:
                observer.touch(mask)

    def _start_task(self, call: Call, event: Event, state: int | None) -> None:
        self._own_tasks().start(call, event, state)

    def _own_tasks(self) -> HandlerTasks:
        if self._tasks is None:
            self._tasks = HandlerTasks(self)
        return self._tasks

    @abstractmethod
    def _dispose_now(self) -> None:
        """The last step of `dispose`, when nothing runs any more."""

    def when_queue_ends(self) -> Wait:
        """Wait until the present drain ends; done at once when none runs."""
        with self._lock:
            if self._drainer and not self.is_disposed:
                return self._subs.wait_queue_ends()
        return _released()

    # What goes wrong, and the log.

    def _task_failed(self, error: Exception, event: HasSource | None) -> None:
        self._add_error(EXCEPTION, error, event=event)

    def _add_error(
        self,
        state: str,
        err: BaseException,
        args: Mapping[str, object] = NO_ARGS,
        event: HasSource | None = None,
    ) -> Result:
        """Activate an error state and Exception with an error (spec machine 7)."""
        self._indexes((state,))
        if type(err) is Canceled or self._refuses():
            return Result.CANCELED
        self._err = err
        trace = "".join(traceback.format_exception(err)) if self.log_stack_trace else ""
        logged = f"\n{trace}" if trace and err.__traceback__ is not None else ""
        self._write_log(LogLevel.CHANGES, f"[error] {err}{logged}")
        if self._on_error is not None:
            self._on_error(self, err)  # type: ignore[arg-type]  # it is a Machine
        given = args.get(EXCEPTION_ARGS)
        known = given if isinstance(given, ExceptionArgs) else ExceptionArgs(err)
        typed = ExceptionArgs(err, known.trace or trace, known.called, known.before, known.target)
        details = {**args, EXCEPTION_ARGS: typed}
        return self._mutate(_ADD, (state, EXCEPTION), details, event, keep_room=False)

    def _report_internal(self, error: BaseException) -> None:
        self._internal_errors = (*self._internal_errors, error)[-_INTERNAL_ERRORS:]
        _log.warning("[%s] %s", self._id, error)

    def _deadline_passed(self, error: BaseException, tx: Transition, name: str) -> None:
        """A handler blocked for so long that what waits is no longer wanted."""
        with self._lock:
            dropped = self._queue.discard_all()
        if dropped:
            _log.error("[%s] %d waiting mutations dropped after: %s", self._id, len(dropped), error)
        self._give_up_checks(dropped)
        event = Event(name, tx.mutation.args, tx.machine, tx)
        called, before, target = map(tuple, (tx.called, tx.states_before, tx.target))
        details = ExceptionArgs(error, "", called, before, target)
        self._add_error(EXCEPTION, error, {EXCEPTION_ARGS: details}, event)
        self._backoff_until = time.monotonic() + self.handler_backoff

    def _give_up_checks(self, dropped: Iterable[Mutation]) -> None:
        """Dry runs that will never run answer all the same."""
        for mutation in dropped:
            check = mutation.args.get(CHECK_ARGS)
            if isinstance(check, CheckArgs):
                check.complete(canceled=True)

    def _write_log(self, level: LogLevel, text: str) -> None:
        if self._log is not None and not self._disposing:
            self._log.write(level, text)
