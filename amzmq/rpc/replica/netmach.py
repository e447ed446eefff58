"""The replica: reads, waits and handlers of a machine that lives elsewhere (spec rpc 5).

Reads are local and free. Mutations go to the source and come back with what they changed, so
whoever awaits one reads its effect. What is known of the source is the `ReplicaClock`, which
replicas of one stream share; what is asked and bound here belongs to this replica alone.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from amzmq.errors import BindError, Canceled, InvalidArgs, RemoteError
from amzmq.machine import (
    EXCEPTION,
    EXCEPTION_ARGS,
    ClockObserver,
    ClockReading,
    MutationType,
    Result,
    Time,
    Wait,
)
from amzmq.machine.args import Args, merged
from amzmq.machine.compiled import CompiledSchema
from amzmq.machine.event import HasSource
from amzmq.machine.handlers import Bound, Handlers
from amzmq.machine.observer import ClockTicks, bits
from amzmq.machine.tasks import HandlerTasks
from amzmq.machine.tracer import Tracer, tell
from amzmq.machine.view import MachineView
from amzmq.rpc.replica.blobs import ReplicaBlobs
from amzmq.rpc.replica.breakpoints import BreakpointTracer
from amzmq.rpc.replica.caller import Caller
from amzmq.rpc.replica.clock import GUARD, ReplicaClock, differences
from amzmq.rpc.replica.event import ReplicaEvent, ReplicaTransition
from amzmq.wire.control import WatchKind

if TYPE_CHECKING:
    from amzmq.rpc.payload import Payload
    from amzmq.wire.codec import Value
    from amzmq.wire.feed import Update

_log = logging.getLogger("amzmq.client")


class NetworkMachine(MachineView):
    """A live replica of a machine; made by a `Client`.

    Attributes:
        remote_id: Id of the machine at the source.
        path: Ids of the nodes between the machine and this process, its owner first.
        is_stale: Whether the source is away, from here or from a node on the way: this is how it
            was when it was last heard of. ``stale`` is one of the tags then.
        filtered: Mutations that were canceled here, as the source would have canceled them.
    """

    __slots__ = (
        "_caller", "_clock", "_dispose_callbacks", "_disposing", "_err", "_filters", "_groups",
        "_handlers", "_observers", "_payload_callbacks", "_tasks", "_tracers", "_tx", "_watched",
        "blobs", "filtered", "is_stale", "path", "remote_id",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        clock: ReplicaClock,
        remote_id: str,
        caller: Caller,
        *,
        filters: bool = False,
    ) -> None:
        self._clock = clock
        super().__init__(id, clock.schema, GUARD)
        self._ticks = clock.ticks
        self.remote_id = remote_id
        self.path: tuple[str, ...] = (remote_id,)
        self.is_stale = False
        self.filtered = 0
        self._caller = caller
        self.blobs = ReplicaBlobs(caller)
        self._filters = filters
        self._groups: dict[str, tuple[int, ...]] = {}
        self._err: BaseException | None = None
        self._handlers = Handlers(clock.schema)
        self._tracers: tuple[Tracer, ...] = ()
        self._observers: tuple[ClockObserver, ...] = ()
        self._tasks: HandlerTasks | None = None
        self._tx: ReplicaTransition | None = None
        self._watched = False  # whether handlers or tracers are to be told of updates
        self._disposing = False
        self._dispose_callbacks: list[Callable[[], None]] = []
        self._payload_callbacks: tuple[Callable[[NetworkMachine, Payload], None], ...] = ()
        clock.attach(self)

    @property
    def _queue_tick(self) -> int:
        return self._clock.queue_tick

    @property
    def _machine_tick(self) -> int:
        return self._clock.machine_tick

    def _active_names(self) -> frozenset[str]:
        return frozenset() if self._disposing else self._clock.active_names()

    def _active_order(self) -> Sequence[str]:
        active = self._active_names()
        return tuple(name for name in self._names if name in active)

    @property
    def is_local(self) -> bool:
        """False: mutations run at the source."""
        return False

    @property
    def is_disposing(self) -> bool:
        """Whether the replica is being let go of."""
        return self._disposing

    @property
    def queue_len(self) -> int:
        """0: the queue is at the source."""
        return 0

    @property
    def tracked_states(self) -> tuple[str, ...]:
        """The states of the view: what the source tells of; the others are inferred or 0."""
        tracked = self._clock.tracked
        return self._names if tracked is None else tuple(self._names[at] for at in tracked)

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels."""
        return ("rpc-netmach", f"src-id:{self.remote_id}", *["stale"] * self.is_stale)

    def came_from(
        self, remote_id: str, path: tuple[str, ...], groups: Mapping[str, object]
    ) -> None:
        """What the source says of the machine; it may be another one after a reconnect."""
        self.remote_id = remote_id
        self.path = path or (remote_id,)
        self._groups = {
            name: tuple(states) for name, states in groups.items() if isinstance(states, list)
        }

    def groups(self) -> dict[str, list[int]]:
        """Names of groups to the indexes of their states, as the source describes them."""
        return {name: list(states) for name, states in self._groups.items()}

    # Mutations: remote.

    def add(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Future[Result]:
        """Activate states at the source; sent at once, awaited for the result.

        When the result is there, so is the effect in this replica.

        Raises:
            StateUnknown: A name is not a state of the machine; nothing is sent.
            InvalidArgs: An argument has no form on the wire.
            NotConnected: (awaited) There is no source at this moment; nothing was sent.
            OutcomeUnknown: (awaited) The source was restarted meanwhile.
            CallTimeout: (awaited) No answer came, after all retries.
        """
        return self._call(MutationType.ADD, states, merged(args, kwargs), event)

    def remove(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Future[Result]:
        """Deactivate states at the source; see `add`."""
        return self._call(MutationType.REMOVE, states, merged(args, kwargs), event)

    def set(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Future[Result]:
        """Activate exactly these states at the source; see `add`."""
        return self._call(MutationType.SET, states, merged(args, kwargs), event)

    def toggle(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Future[Result]:
        """Remove the states if all are active here, add them otherwise; see `add`."""
        kind = MutationType.REMOVE if self.is_(*states) else MutationType.ADD
        return self._call(kind, states, merged(args, kwargs), event)

    def add_ns(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Result:
        """Activate states without waiting and without a reply; see `Client.sync`.

        Returns:
            EXECUTED once it is handed to the connection, CANCELED when there is none.
        """
        called = self._indexes(states)
        if self._is_hopeless(MutationType.ADD, states):
            return Result.CANCELED
        return self._caller.notify(MutationType.ADD, called, merged(args, kwargs), event)

    def add_err(
        self, err: BaseException, *, args: Args | None = None, event: HasSource | None = None
    ) -> Future[Result]:
        """Add an error to the source; its type, text and traceback travel."""
        return self.add_err_state(EXCEPTION, err, args=args, event=event)

    def add_err_state(
        self,
        state: str,
        err: BaseException,
        *,
        args: Args | None = None,
        event: HasSource | None = None,
    ) -> Future[Result]:
        """Activate an error state and Exception at the source with an error."""
        if not isinstance(err, BaseException):
            raise InvalidArgs(f"add_err: err={err!r}; give an exception, e.g. ValueError('why')")
        if type(err) is Canceled:
            raise InvalidArgs("add_err: a plain Canceled is no error")
        self._err = err
        trace = "".join(traceback.format_exception(err))
        details = merged(args, {EXCEPTION_ARGS: [type(err).__name__, str(err), trace]})
        states = (state,) if state == EXCEPTION else (state, EXCEPTION)
        return self._caller.call(MutationType.ADD, self._indexes(states), details, event)

    def pass_err(
        self,
        state: str,
        error: RemoteError,
        trace: str,
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Future[Result]:
        """Hand on an error that came from a replica of this replica, as it was there."""
        details = merged(args, {EXCEPTION_ARGS: [error.type_name, error.message, trace]})
        states = (state,) if state == EXCEPTION else (state, EXCEPTION)
        return self._caller.call(MutationType.ADD, self._indexes(states), details, event)

    def _call(
        self,
        kind: MutationType,
        states: tuple[str, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Future[Result]:
        called = self._indexes(states)
        if self._is_hopeless(kind, states):
            future: Future[Result] = asyncio.get_running_loop().create_future()
            future.set_result(Result.CANCELED)
            return future
        return self._caller.call(kind, called, args, event)

    def _is_hopeless(self, kind: MutationType, states: tuple[str, ...]) -> bool:
        """Whether the relations, as known here, leave a mutation no chance; counted then."""
        if not self._filters or self._resolve(kind, states) != Result.CANCELED:
            return False
        self.filtered += 1
        return True

    # Waits that only the source can end.

    def when_args(self, state: str, *, ctx: Wait | None = None, **args: object) -> Wait:
        """Wait until `state`'s final handlers run at the source with all of `args` equal.

        It lives through reconnects; activations while the source was away for good, i.e. was
        restarted, are not seen. What `args` holds has to have a form on the wire.

        Raises:
            StateUnknown: The name is not a state of this machine.
            NotConnected: The client was never connected, or is stopped.
        """
        return self.when_args_of(state, args, ctx=ctx)

    def when_args_of(
        self, state: str, args: Mapping[str, object], *, ctx: Wait | None = None
    ) -> Wait:
        """`when_args` with the arguments as a mapping."""
        wait = self._caller.watch(WatchKind.ARGS, self._indexes((state,)), args)
        if ctx is not None:
            ctx.add_done_callback(wait.give_up)
        return wait

    def when_queue_ends(self) -> Wait:
        """Wait until the source has no mutation in its queue."""
        return self._caller.watch(WatchKind.QUEUE_ENDS, (), None)

    # Payloads.

    def on_payload(self, callback: Callable[[NetworkMachine, Payload], None]) -> None:
        """Call `callback(replica, payload)` for each payload for everybody, in order."""
        self._payload_callbacks = (*self._payload_callbacks, callback)

    def off_payload(self, callback: Callable[[NetworkMachine, Payload], None]) -> None:
        """Undo `on_payload`."""
        self._payload_callbacks = tuple(it for it in self._payload_callbacks if it != callback)

    def payload_arrived(self, payload: Payload, blob: list[Value] | None = None) -> bool:
        """Tell the callbacks of a payload, or of the blob it offers; whether there was one."""
        if blob is not None:
            return self.blobs.offered(self, payload, blob)
        for callback in self._payload_callbacks:
            callback(self, payload)
        return bool(self._payload_callbacks)

    # Checks that the relations alone can answer.

    def can_add(self, *states: str) -> Result:
        """Whether the relations would accept `add` now; handlers of the source are not asked."""
        return self._resolve(MutationType.ADD, states)

    def can_remove(self, *states: str) -> Result:
        """Whether the relations would accept `remove` now; see `can_add`."""
        return self._resolve(MutationType.REMOVE, states)

    def _resolve(self, kind: MutationType, states: tuple[str, ...]) -> Result:
        called = tuple(dict.fromkeys(self._indexes(states)))
        plans = self._compiled.plans
        node = plans.node(self.time().active_states())
        plan = plans.plan(node, kind, called)
        return Result.EXECUTED if plan.accepted_as_check else Result.CANCELED

    def err(self) -> BaseException | None:
        """The last error added through this replica."""
        return self._err

    def transition(self) -> ReplicaTransition | None:
        """The update being applied; None outside of one."""
        return self._tx

    # Handlers, tracers, observers.

    def bind(self, handlers: object, id: str = "") -> str:
        """Bind final handlers (FooState, FooEnd, AnyState); they are called for each update.

        An ``async def FooState`` runs as a task that is cancelled when Foo's tick changes.

        Raises:
            BindError: Not bindable, or negotiation handlers: those run at the source only.
        """
        table, id = self._handlers.bind(handlers, id)
        if table.enter or table.exit or table.self_ or table.cross or table.any_enter is not None:
            raise BindError(
                "a replica has no negotiation: bind only FooState, FooEnd and AnyState handlers, "
                "and the others at the source"
            )
        self._handlers = table
        self._look()
        return id

    def detach(self, id: str) -> None:
        """Undo a `bind`.

        Raises:
            BindError: Nothing is bound under this id.
        """
        self._handlers = self._handlers.detach(id)
        self._look()

    def handlers(self) -> list[str]:
        """Ids of the bindings, in bind order."""
        return self._handlers.ids()

    def bind_tracer(self, tracer: Tracer) -> str:
        """Bind a tracer: init, start, handlers, end and dispose are told; it must not mutate.

        Raises:
            BindError: Not a `Tracer`, or one without an id.
        """
        if not isinstance(tracer, Tracer) or not tracer.id:
            raise BindError(f"tracer={tracer!r}: give a Tracer object with an id")
        self._tracers = (*self._tracers, tracer)
        self._look()
        return tracer.id

    def detach_tracer(self, id: str) -> None:
        """Detach the tracers of this id.

        Raises:
            BindError: No tracer has it.
        """
        kept = tuple(tracer for tracer in self._tracers if tracer.id != id)
        if len(kept) == len(self._tracers):
            raise BindError(f"tracer not bound: id={id!r}")
        self._tracers = kept
        self._look()

    def tracers(self) -> list[Tracer]:
        """The bound tracers, in bind order."""
        return list(self._tracers)

    def add_breakpoint(self, added: Iterable[str] = (), removed: Iterable[str] = ()) -> None:
        """Log a line when an update activates all of `added` and deactivates all of `removed`.

        Raises:
            StateUnknown: A name is not a state of this machine.
        """
        point = BreakpointTracer(tuple(added), tuple(removed))
        self._indexes((*point.added, *point.removed))
        self.bind_tracer(point)

    def _look(self) -> None:
        """Whether somebody wants to be told of updates may have changed."""
        watched = bool(self._tracers or self._handlers.ids()) and not self._disposing
        if watched is not self._watched:
            self._watched = watched
            self._clock.watching += 1 if watched else -1

    # Observers: a feed that serves this replica to others.

    def observe_clock(self, observer: ClockObserver) -> ClockReading:
        """Let an observer collect which ticks change from the returned reading on."""
        with GUARD:
            self._observers = (*self._observers, observer)
            ticks = tuple(enumerate(self._ticks))
            return ClockReading(ticks, self._queue_tick, self._machine_tick, self._compiled)

    def read_changes(self, observer: ClockObserver) -> tuple[ClockTicks, int, int, CompiledSchema]:
        """What a `ClockReading` has, of the ticks that changed since the observer's last one."""
        with GUARD:
            mask = observer.take()
            ticks = self._ticks
            changed = tuple([(at, ticks[at]) for at in bits(mask)]) if ticks else ()
            return changed, self._queue_tick, self._machine_tick, self._compiled

    def unobserve_clock(self, observer: ClockObserver) -> None:
        """Stop telling an observer."""
        with GUARD:
            self._observers = tuple(other for other in self._observers if other is not observer)

    # The end.

    def on_dispose(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the replica is disposed, in order of registration."""
        self._dispose_callbacks.append(callback)

    def dispose(self) -> None:
        """Let go of the replica: tasks and waits end, reads are empty. The source lives on."""
        if self._disposing:
            return
        self._disposing = True
        self._look()
        self._clock.detach(self)
        if self._tasks is None:
            self._finish_dispose()
        else:
            self._tasks.cancel_all(self._finish_dispose)

    def _finish_dispose(self) -> None:
        self._trace("machine_dispose", self._id)
        with GUARD:
            self._index = {}
            self._ticks = []
        self._disposed_wait.release()
        self._subs.release_all()
        callbacks, self._dispose_callbacks = self._dispose_callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.exception("[%s] a dispose callback failed", self._id)

    # What the clock tells. Only the follower of the stream makes it do so, on its event loop.

    def follow(self, clock: ReplicaClock) -> None:
        """Read another clock from now on: the source was restarted, or is reached otherwise.

        Raises:
            SchemaMismatch: Its schema lacks states of this replica; nothing was changed.
        """
        old = self._clock
        if clock is old:
            return
        clock.must_have(self._names)
        known = dict(zip(self._names, self._ticks, strict=True))
        old.detach(self)
        watched, self._watched = self._watched, False
        old.watching -= watched
        self._clock = clock
        clock.attach(self)
        self._look()
        self.schema_changed()
        before = [known.get(name, 0) for name in self._names]
        ticked, activated, deactivated = differences(before, self._ticks)
        self.told(ticked, activated, deactivated, Time(before), None)

    def schema_changed(self) -> None:
        """The clock has another schema: names, waits and handlers follow."""
        clock = self._clock
        schema, former = clock.schema, dict(self._states)
        if schema is not self._compiled:
            self._caller.renumber({at: schema.index[name] for at, name in enumerate(self._names)})
        with GUARD:
            if schema is not self._compiled:
                self._adopt(schema)
                self._compiled = schema
                self._handlers = self._handlers.adopt(schema)
            self._ticks = clock.ticks
            everything = (1 << len(schema.names)) - 1
            for observer in self._observers:
                observer.touch(everything)
        if former != self._states:
            self._trace("schema_change", self, former)

    @property
    def is_listening(self) -> bool:
        """Whether an update has to be told here."""
        return self._watched or self._subs.pending > 0 or bool(self._observers)

    def told(
        self,
        ticked: list[int],
        activated: list[int],
        deactivated: list[int],
        before: Time | None,
        cause: Update | None,
    ) -> None:
        """The clock has changed. Contexts, handlers and tracers, then waits: as a transition."""
        if self._observers:
            mask = 0
            for state in ticked:
                mask |= 1 << state
            with GUARD:
                for observer in self._observers:
                    observer.touch(mask)
        subs = self._subs
        if subs.pending:
            subs.expire_contexts(ticked)
        if self._watched and before is not None:
            self._run_handlers(activated, deactivated, before, cause)
        if subs.pending:
            subs.process(activated, deactivated, self._ticks, ticked, self._queue_tick, self.clock)

    def _run_handlers(
        self, activated: list[int], deactivated: list[int], before: Time, cause: Update | None
    ) -> None:
        names = self._names
        tx = self._tx = ReplicaTransition(
            self, before, self.time(), [names[index] for index in activated],
            [names[index] for index in deactivated], cause,
        )  # fmt: skip
        self._trace("transition_init", tx)
        self._trace("transition_start", tx)
        if activated or deactivated:
            table = self._handlers
            bound = [(index, table.end.get(index)) for index in deactivated]
            bound += [(index, table.state.get(index)) for index in activated]
            for state, item in (*bound, (None, table.any_state)):
                if item is not None:
                    self._run(item, tx, state)
        tx.is_completed = True
        self._tx = None
        self._trace("transition_end", tx)

    def _run(self, bound: Bound, tx: ReplicaTransition, state: int | None) -> None:
        event = ReplicaEvent(bound.name, self, tx)
        for call in bound.calls:
            self._trace("handler_start", tx, call.binding, bound.name)
            try:
                if call.loop is None:
                    call.function(event)
                else:
                    if self._tasks is None:
                        self._tasks = HandlerTasks(self)
                    self._tasks.start(call, event, state)
            except Exception as error:
                self._err = error
                _log.exception("[%s] handler %s failed", self._id, bound.name)
            self._trace("handler_end", tx, call.binding, bound.name)

    def _task_failed(self, error: Exception, event: HasSource | None) -> None:
        """A handler's error is this process's own: the source does not hear of it."""
        self._err = error
        _log.error("[%s] an async handler failed", self._id, exc_info=error)

    def _trace(self, moment: str, *args: object) -> None:
        tell(self._tracers, moment, *args)
