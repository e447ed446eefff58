"""The machine: states, relations, clocks, a queue of mutations (spec machine).

`Machine` is the public face. What it stands on: `view` reads and waits, `engine` runs
mutations, `lifecycle` knows parents, exports and the end, `watching` takes handlers, tracers
and a log, `forking` runs what should not hold up the machine.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import get_ident

from amzmq.errors import EvalTimeout, InvalidArgs, NestedEval
from amzmq.machine.args import Args, merged
from amzmq.machine.compiled import compile_schema
from amzmq.machine.conditions import ArgsWait, includes
from amzmq.machine.evals import Evaluation
from amzmq.machine.event import EventCopy, HasSource
from amzmq.machine.forking import Forking
from amzmq.machine.groups import Groups
from amzmq.machine.guard import ErrorGuard
from amzmq.machine.logs import LogLevel
from amzmq.machine.mutation import NO_ARGS, Mutation, Position, QueuePlace
from amzmq.machine.resolver import MutationType
from amzmq.machine.result import Result
from amzmq.machine.schema import EXCEPTION, Schema, States, definitions_of
from amzmq.machine.tracer import Tracer, tell
from amzmq.machine.view import _released
from amzmq.machine.wait import Wait
from amzmq.machine.workers import HandlerThreads

_log = logging.getLogger("amzmq.machine")

_ADD = MutationType.ADD
_REMOVE = MutationType.REMOVE
_SET = MutationType.SET


class Machine(Forking):
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
        eval_timeout: Seconds that `eval` waits for its turn.
        dispose_timeout: Seconds that `dispose` waits for a handler that is running. Twice as
            long may the goodbye take of a machine whose parent is disposed.
        handler_threads: Whether sync handlers run on a thread of the machine's own. It costs
            each call some time, and a handler that has not returned by `handler_deadline` is
            left behind; without it a handler that hangs holds up the machine for as long.
        detect_eval: Whether an `eval` inside of a handler is an error of the machine.
        log_stack_trace: Whether errors carry their traceback.
        panic_to_exception: Whether an exception of a handler becomes the state Exception;
            otherwise it leaves the mutation that ran the handler.
        log_level: How much is logged; see `set_log`.
        tracers: Tracers to bind before anything else happens.

    Raises:
        SchemaError: `schema` is not a schema, or `states` does not fit it. A schema that
            contradicts itself is no exception: the machine starts with Exception active.

    >>> from amzmq.machine import State
    >>> door = Machine({"Open": State(remove="Closed"), "Closed": State(remove="Open")})
    >>> door.add("Open"), str(door)
    (Result.EXECUTED, '(Open:1)')
    """

    __slots__ = ("_groups", "detect_eval", "eval_timeout", "tags")

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
        eval_timeout: float = 1.0,
        dispose_timeout: float = 1.0,
        handler_threads: bool = False,
        detect_eval: bool = False,
        log_stack_trace: bool = True,
        panic_to_exception: bool = True,
        log_level: LogLevel = LogLevel.NOTHING,
        tracers: Iterable[Tracer] = (),
    ) -> None:
        compiled = compile_schema(definitions_of(schema), states)
        super().__init__(id or secrets.token_hex(8), compiled, parent)
        self._groups: Groups | None = None
        self.queue_limit = queue_limit
        self.handler_timeout = handler_timeout
        self.handler_deadline = handler_deadline
        self.handler_backoff = handler_backoff
        self.eval_timeout = eval_timeout
        self.dispose_timeout = dispose_timeout
        if handler_threads:
            self._threads = HandlerThreads(self)
        self.detect_eval = detect_eval
        self.log_stack_trace = log_stack_trace
        self.panic_to_exception = panic_to_exception
        self.tags: tuple[str, ...] = ()
        self.set_tags(tags)
        if log_level:
            self.set_log(log_level)
        self._begin(tracers, handlers)

    def _begin(self, tracers: Iterable[Tracer], handlers: object | None) -> None:
        """The end of construction: everybody concerned is told."""
        for tracer in tracers:
            self.bind_tracer(tracer)
        if self.parent is not None:
            self.parent._adopt_child(self)
        tell(self._tracers, "machine_init", self)
        cycle = self._compiled.require_cycle
        if cycle is not None:
            text = f"relation error: state {cycle} has a Require cycle for {self.id}"
            _log.warning("%s; its members can only be activated together", text)
            self._write_log(LogLevel.CHANGES, f"[resolver] {text}")
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
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Result:
        """Activate states.

        Args:
            states: Names; relations may pull in or push out more.
            args: Arguments for the handlers, as a mapping or an object of a dataclass.
            event: The event of the handler that makes this mutation, for tracing.
            **kwargs: Arguments for the handlers.

        Returns:
            EXECUTED, CANCELED, or queued with its queue tick when a drain is running.

        Raises:
            StateUnknown: A name is not in the schema.
        """
        if args is None and not kwargs:
            if self._plain:
                return self._step(_ADD, states, event)
            return self._mutate(_ADD, states, NO_ARGS, event)
        return self._mutate(_ADD, states, merged(args, kwargs), event)

    def remove(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Result:
        """Deactivate states; see `add`."""
        if args is None and not kwargs:
            if self._plain:
                return self._step(_REMOVE, states, event)
            return self._mutate(_REMOVE, states, NO_ARGS, event)
        return self._mutate(_REMOVE, states, merged(args, kwargs), event)

    def set(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Result:
        """Activate exactly these states; see `add`. None deactivates all."""
        if args is None and not kwargs:
            if self._plain:
                return self._step(_SET, states, event)
            return self._mutate(_SET, states, NO_ARGS, event)
        return self._mutate(_SET, states, merged(args, kwargs), event)

    def toggle(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Result:
        """Remove the states if all are active, add them otherwise; see `add`."""
        change = self.remove if self.is_(*states) else self.add
        return change(*states, args=args, event=event, **kwargs)

    def add_err(
        self, err: BaseException, *, args: Args | None = None, event: HasSource | None = None
    ) -> Result:
        """Activate Exception with an error (spec machine 7)."""
        return self.add_err_state(EXCEPTION, err, args=args, event=event)

    def add_err_state(
        self,
        state: str,
        err: BaseException,
        *,
        args: Args | None = None,
        event: HasSource | None = None,
    ) -> Result:
        """Activate an error state and Exception with an error.

        The error is kept for `err()` and reaches the handlers as `event.error`. A plain
        `Canceled` is no error and adds nothing.
        """
        if not isinstance(err, BaseException):
            raise InvalidArgs(f"add_err: err={err!r}; give an exception, e.g. ValueError('why')")
        return self._add_error(state, err, merged(args, {}), event)

    def panic_to_err(self, args: Args | None = None) -> ErrorGuard:
        """A guard for foreign threads: ``with m.panic_to_err(): ...`` adds what is raised.

        The exception becomes an `add_err`, and execution goes on after the block.
        """
        return ErrorGuard(self, EXCEPTION, args)

    def panic_to_err_state(self, state: str, args: Args | None = None) -> ErrorGuard:
        """The same with `add_err_state`."""
        self._indexes((state,))
        return ErrorGuard(self, state, args)

    def can_add(self, *states: str, args: Args | None = None) -> Result:
        """Whether `add` would be accepted now: a dry run, negotiation handlers included.

        In a handler the answer is only queued, as the present transition has to end first;
        `CheckArgs` in the arguments tell it then.
        """
        return self._check(_ADD, states, args)

    def can_remove(self, *states: str, args: Args | None = None) -> Result:
        """Whether `remove` would be accepted now; see `can_add`."""
        return self._check(_REMOVE, states, args)

    def _check(self, kind: MutationType, states: tuple[str, ...], args: Args | None) -> Result:
        if self._disposing or self.backoff():
            return Result.CANCELED
        mutation = Mutation(kind, self._called(states), merged(args, {}), is_check=True)
        self._prepend(mutation)
        return self._drain_or(mutation, Result.QUEUED)

    def prepend_mut(self, mutation: Mutation) -> Result:
        """Run a mutation before everything that waits, without a queue tick (spec 3.6)."""
        if self._disposing:
            return Result.CANCELED
        self._prepend(mutation)
        return self._drain_or(mutation, Result.QUEUED)

    def eval(self, source: str, function: Callable[[], None], ctx: Wait | None = None) -> bool:
        """Run a function while no transition does, before everything that waits.

        Mutations made in it are queued. What it raises is raised here.

        Args:
            source: Names the caller, for the log.
            function: What to run.
            ctx: When this wait is done before its turn, the function is not run.

        Returns:
            Whether it was run: not within `eval_timeout`, or on a disposed machine, it is not.
            Inside of a handler it cannot be.
        """
        if not source:
            raise InvalidArgs("eval: source is empty; name the place of the call")
        if self._disposing:
            return False
        if self._drainer == get_ident() or self._is_on_handler_thread():
            return self._refuse_nested(source)
        evaluation = Evaluation(source, function, ctx)
        self._write_log(LogLevel.OPS, f"[eval] {source}")
        mutation = evaluation.mutation()
        self._prepend(mutation)
        self._drain_or(mutation, Result.QUEUED)
        if not evaluation.ended.wait(self.eval_timeout):
            if evaluation.give_up():
                timeout = self.eval_timeout
                self._report_internal(EvalTimeout(f"eval {source} got no turn in {timeout} s"))
            else:
                evaluation.ended.wait()
        if evaluation.was_given_up:
            self._write_log(LogLevel.DECISIONS, f"[eval:ctxdone] {source}")
        else:
            self._write_log(LogLevel.EVERYTHING, f"[eval:end] {source}")
        if evaluation.error is not None:
            raise evaluation.error
        return evaluation.has_run

    def _refuse_nested(self, source: str) -> bool:
        error = NestedEval(f"eval {source}: nested in a handler or eval, which has to end first")
        if self.detect_eval:
            self.add_err(error)
        else:
            self._report_internal(error)
        return False

    # The queue (spec machine 3.8).

    @property
    def queue_len(self) -> int:
        """How many mutations wait; the running one is not counted."""
        return len(self._queue.waiting)

    def queue(self) -> list[Mutation]:
        """The waiting mutations, the next one first."""
        with self._lock:
            return list(self._queue.waiting)

    def is_queued(
        self,
        kind: MutationType,
        *states: str,
        without_args: bool = False,
        strict: bool = False,
        min_tick: int = 0,
        is_check: bool = False,
        position: Position = Position.ANY,
    ) -> QueuePlace | None:
        """Where the first waiting mutation is that calls `states`; None without one.

        Args:
            kind: Its type.
            states: States it calls, perhaps among others.
            without_args: Only one without arguments.
            strict: Only one that calls no other states.
            min_tick: Only one of at least this queue tick.
            is_check: A dry run, instead of a real one.
            position: Only the `FIRST` or the `LAST` in the queue.
        """
        called = self._called(states)
        with self._lock:
            return self._queue.find(
                kind,
                called,
                without_args=without_args,
                strict=strict,
                min_tick=min_tick,
                is_check=is_check,
                position=position,
            )

    def is_queued_above(self, count: int, kind: MutationType, *states: str) -> bool:
        """Whether at least `count` such mutations wait, dry runs not counted."""
        called = frozenset(self._called(states))
        waiting = (m for m in self.queue() if m.type is kind and not m.is_check)
        return sum(called.issubset(mutation.called) for mutation in waiting) >= count

    def will_be(self, *states: str, position: Position = Position.ANY) -> bool:
        """Whether a waiting mutation adds all of `states`; implied ones do not count."""
        return self.is_queued(_ADD, *states, position=position) is not None

    def will_be_any(self, *states: str) -> bool:
        """Whether waiting mutations add any of `states`."""
        return any(self.will_be(state) for state in states)

    def will_be_removed(self, *states: str, position: Position = Position.ANY) -> bool:
        """Whether a waiting mutation removes all of `states`."""
        return self.is_queued(_REMOVE, *states, position=position) is not None

    def when_args(self, state: str, *, ctx: Wait | None = None, **args: object) -> Wait:
        """Wait until `state`'s final handlers run with all of `args` equal.

        A wait whose arguments are a subset of an existing one's is that one (a quirk of the
        reference).
        """
        with self._lock:
            indexes = self._indexes((state,))
            if self._is_moot(ctx):
                return _released()
            waits = [wait for wait in self._subs.args_waits if wait.state == indexes[0]]
        # Comparing runs code of the user's, so not under the lock.
        found = next((wait for wait in waits if includes(wait.args, args)), None)
        with self._lock:
            if found is not None and found.listed:
                return found
            if self._is_moot(ctx):
                return _released()
            made = self._subs.enlist(ArgsWait(self, ctx, indexes[0], args))
        return self._subs.tell_new(made)

    def when_args_of(
        self, state: str, args: Mapping[str, object], *, ctx: Wait | None = None
    ) -> Wait:
        """`when_args` with the arguments as a mapping, and a wait of its own each time."""
        with self._lock:
            indexes = self._indexes((state,))
            if self._is_moot(ctx):
                return _released()
            made = self._subs.enlist(ArgsWait(self, ctx, indexes[0], args))
        return self._subs.tell_new(made)

    # Errors and callbacks.

    def err(self) -> BaseException | None:
        """The last error; kept after Exception is removed."""
        return self._err

    def err_internal(self) -> BaseException | None:
        """Take the oldest of the last 10 timeouts that no state tells of; None without any."""
        if not self._internal_errors:
            return None
        first, *rest = self._internal_errors
        self._internal_errors = tuple(rest)
        return first

    def ev_source(self, transition_id: str) -> EventCopy:
        """A bare event for ``event=``, of which only the transition's id is known."""
        return EventCopy(self._id, transition_id)

    # Labels and groups.

    def set_tags(self, tags: Iterable[str]) -> None:
        """Replace the tags; each is kept once."""
        self.tags = tuple(dict.fromkeys(tags))

    def set_groups(self, groups: object | None = None, states: type[States] | None = None) -> None:
        """Describe groups of states: the lists of an object or a mapping, then those of a class.

        Args:
            groups: Its attributes (or values) that are lists of names, in order.
            states: A `States` class; see `States.groups`.
        """
        self._groups = Groups.of(self._index, groups, states)

    def groups(self) -> dict[str, list[int]]:
        """The groups by name, in order, each with the indexes of its states."""
        return {} if self._groups is None else self._groups.indexes(self._index)
