"""The replica: reads, waits and handlers of a machine that lives elsewhere (spec rpc 5).

Reads are local and free. Mutations go to the source and come back with what they changed, so
whoever awaits one reads its effect.
"""

from __future__ import annotations

import logging
import secrets
import traceback
from asyncio import Future
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from amzmq.errors import BindError, Canceled, InvalidArgs
from amzmq.machine import (
    EXCEPTION,
    EXCEPTION_ARGS,
    ClockObserver,
    MutationType,
    Result,
    Source,
    Time,
)
from amzmq.machine.args import Args, merged
from amzmq.machine.compiled import CompiledSchema
from amzmq.machine.event import HasSource
from amzmq.machine.handlers import Bound, Handlers
from amzmq.machine.tracer import Tracer, tell
from amzmq.machine.view import MachineView

if TYPE_CHECKING:
    from amzmq.wire.writer import Snapshot

_log = logging.getLogger("amzmq.client")


class Caller(Protocol):
    """What carries a replica's mutations to the source."""

    def call(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Future[Result]:
        """Send a mutation; the future ends when its effect is applied here."""

    def notify(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Result:
        """Send a mutation that nobody waits for."""


class ReplicaTransition:
    """One applied update, as handlers and tracers of a replica see it.

    Updates are merged diffs, so it has no called states, no queue and no veto.

    Attributes:
        machine: The replica.
        time_before, time_after: Its time around the update.
        activated, deactivated: Names of the states that changed.
        is_completed: Whether everybody has been told.
    """

    __slots__ = (
        "activated", "deactivated", "id", "is_completed", "machine", "time_after", "time_before"
    )  # fmt: skip

    type = "set"
    is_accepted = True
    is_auto = False
    is_check = False

    def __init__(
        self,
        machine: NetworkMachine,
        time_before: Time,
        time_after: Time,
        activated: list[str],
        deactivated: list[str],
    ) -> None:
        self.id = secrets.token_hex(8)
        self.machine = machine
        self.time_before = time_before
        self.time_after = time_after
        self.activated = activated
        self.deactivated = deactivated
        self.is_completed = False


class ReplicaEvent:
    """What a handler of a replica receives.

    Attributes:
        name: The event, e.g. ``OpenState``.
        args: Empty: arguments do not travel with updates.
        machine: The replica.
        transition: The update being applied.
    """

    __slots__ = ("args", "machine", "name", "transition")

    def __init__(self, name: str, machine: NetworkMachine, transition: ReplicaTransition) -> None:
        self.name = name
        self.args: Mapping[str, object] = {}
        self.machine = machine
        self.transition = transition

    @property
    def machine_id(self) -> str:
        """Id of the machine at the source."""
        return self.machine.remote_id

    @property
    def transition_id(self) -> str:
        """Id of the update."""
        return self.transition.id

    def source(self) -> Source:
        """Where a mutation made with this event comes from."""
        return Source(self.machine_id, self.transition_id, self.transition.time_before.sum())

    def is_valid(self) -> bool:
        """Whether the update is still being told of."""
        return not self.transition.is_completed


class NetworkMachine(MachineView):
    """A live replica of a machine; made by a `Client`.

    Attributes:
        remote_id: Id of the machine at the source.
        tags: Labels.
    """

    __slots__ = (
        "_active",
        "_caller",
        "_dispose_callbacks",
        "_err",
        "_frozen",
        "_handlers",
        "_observers",
        "_tracers",
        "_tx",
        "_watched",
        "remote_id",
        "tags",
    )

    def __init__(self, id: str, schema: CompiledSchema, remote_id: str, caller: Caller) -> None:
        super().__init__(id, schema)
        self.remote_id = remote_id
        self.tags = ("rpc-netmach", f"src-id:{remote_id}")
        self._caller = caller
        self._active: set[str] = set()
        self._frozen: frozenset[str] | None = frozenset()
        self._err: BaseException | None = None
        self._handlers = Handlers(schema)
        self._tracers: tuple[Tracer, ...] = ()
        self._observers: tuple[ClockObserver, ...] = ()
        self._tx: ReplicaTransition | None = None
        self._watched = False  # whether handlers or tracers are to be told of updates
        self._dispose_callbacks: list[Callable[[], None]] = []

    def _active_names(self) -> frozenset[str]:
        frozen = self._frozen
        if frozen is None:
            with self._lock:
                frozen = self._frozen = frozenset(self._active)
        return frozen

    def _active_order(self) -> tuple[str, ...]:
        active = self._active_names()
        return tuple(name for name in self._names if name in active)

    @property
    def is_local(self) -> bool:
        """False: mutations run at the source."""
        return False

    @property
    def queue_len(self) -> int:
        """0: the queue is at the source."""
        return 0

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
        return self._call(MutationType.ADD, states, details, event)

    def _call(
        self,
        kind: MutationType,
        states: tuple[str, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Future[Result]:
        return self._caller.call(kind, self._indexes(states), args, event)

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

        Raises:
            BindError: Not bindable, or negotiation handlers: those run at the source only.
        """
        table, id = self._handlers.bind(handlers, id)
        if table.enter or table.exit or table.self_ or table.cross or table.any_enter is not None:
            raise BindError(
                "a replica has no negotiation: bind only FooState, FooEnd and AnyState handlers, "
                "and the others at the source"
            )
        for bound in (*table.state.values(), *table.end.values(), table.any_state):
            if bound is not None and any(call.loop is not None for call in bound.calls):
                raise BindError(
                    f"handler {bound.name} is async: on a replica handlers run with the update; "
                    "start a task in it, or await a wait of the replica"
                )
        self._handlers = table
        self._watched = True
        return id

    def detach(self, id: str) -> None:
        """Undo a `bind`.

        Raises:
            BindError: Nothing is bound under this id.
        """
        self._handlers = self._handlers.detach(id)
        self._watched = bool(self._tracers or self._handlers.ids())

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
        self._watched = True
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
        self._watched = bool(self._tracers or self._handlers.ids())

    # The end.

    def on_dispose(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the replica is disposed, in order of registration."""
        self._dispose_callbacks.append(callback)

    def dispose(self) -> None:
        """Let go of the replica: waits are released, reads are empty. The source lives on."""
        if self.is_disposed:
            return
        self._trace("machine_dispose", self._id)
        self._disposed_wait.release()
        with self._lock:
            self._active.clear()
            self._frozen = frozenset()
            self._index = {}
            self._ticks = []
        self._subs.release_all()
        callbacks, self._dispose_callbacks = self._dispose_callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.exception("[%s] a dispose callback failed", self._id)

    # Applying. Only the follower of the stream calls these, on its event loop.

    def apply(self, changes: list[int], queue_ticks: int, machine_ticks: int) -> None:
        """Apply a diff: index, ticks added, index, ticks added, and so on."""
        if not self._ticks:  # disposed
            return
        before = self.time() if self._watched else None
        activated: list[int] = []
        deactivated: list[int] = []
        with self._lock:
            ticks = self._ticks
            for at in range(0, len(changes), 2):
                index, delta = changes[at], changes[at + 1]
                tick = ticks[index]
                ticks[index] = tick + delta
                if delta & 1:
                    (deactivated if tick & 1 else activated).append(index)
            self._queue_tick += queue_ticks
            self._machine_tick += machine_ticks
            if activated or deactivated:
                self._mark(activated, deactivated)
        if before is not None or self._subs.pending:
            self._tell(changes[::2], activated, deactivated, before)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a whole clock."""
        if self.is_disposed:
            return
        before = self.time() if self._watched else None
        with self._lock:
            pairs = list(enumerate(zip(self._ticks, snapshot.ticks, strict=True)))
            ticked = [index for index, (old, new) in pairs if old != new]
            activated = [index for index, (old, new) in pairs if new & 1 and not old & 1]
            deactivated = [index for index, (old, new) in pairs if old & 1 and not new & 1]
            self._ticks[:] = snapshot.ticks
            self._queue_tick = snapshot.queue_tick
            self._machine_tick = snapshot.machine_tick
            self._mark(activated, deactivated)
        self._tell(ticked, activated, deactivated, before)

    def _mark(self, activated: Iterable[int], deactivated: Iterable[int]) -> None:
        names = self._names
        for index in activated:
            self._active.add(names[index])
            self._frozen = None
        for index in deactivated:
            self._active.discard(names[index])
            self._frozen = None

    def _tell(
        self,
        ticked: list[int],
        activated: list[int],
        deactivated: list[int],
        before: Time | None,
    ) -> None:
        """Contexts, handlers and tracers, then waits: the order of a transition."""
        subs = self._subs
        if subs.pending:
            subs.expire_contexts(ticked)
        if before is not None:
            self._run_handlers(activated, deactivated, before)
        if subs.pending:
            subs.process(activated, deactivated, self._ticks, ticked, self._queue_tick, self.clock)

    def _run_handlers(self, activated: list[int], deactivated: list[int], before: Time) -> None:
        names = self._names
        tx = self._tx = ReplicaTransition(
            self,
            before,
            self.time(),
            [names[index] for index in activated],
            [names[index] for index in deactivated],
        )
        self._trace("transition_init", tx)
        self._trace("transition_start", tx)
        if activated or deactivated:
            table = self._handlers
            bound = [table.end.get(index) for index in deactivated]
            bound += [table.state.get(index) for index in activated]
            for item in (*bound, table.any_state):
                if item is not None:
                    self._run(item, tx)
        tx.is_completed = True
        self._tx = None
        self._trace("transition_end", tx)

    def _run(self, bound: Bound, tx: ReplicaTransition) -> None:
        event = ReplicaEvent(bound.name, self, tx)
        for call in bound.calls:
            self._trace("handler_start", tx, call.binding, bound.name)
            try:
                call.function(event)
            except Exception as error:
                self._err = error
                _log.exception("[%s] handler %s failed", self._id, bound.name)
            self._trace("handler_end", tx, call.binding, bound.name)

    def _trace(self, moment: str, *args: object) -> None:
        tell(self._tracers, moment, *args)
