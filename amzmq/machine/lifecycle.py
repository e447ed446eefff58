"""A machine from outside of its mutations: parents, export, another schema, the end.

Spec machine 9.1, 9.4 to 9.6.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from amzmq.errors import InvalidArgs, SchemaError
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.machine.engine import Engine
from amzmq.machine.forks import Forks
from amzmq.machine.logs import LogLevel
from amzmq.machine.mutation import NO_ARGS
from amzmq.machine.observer import ClockObserver, ClockReading, ClockTicks, bits
from amzmq.machine.resolver import MutationType
from amzmq.machine.schema import EXCEPTION, START, Schema, State, States, definitions_of
from amzmq.machine.tracer import tell

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine

_log = logging.getLogger("amzmq.machine")

DISPOSING = "Disposing"
"""Added when the parent is disposed, if the schema has it and there are handlers."""

RESTORED = "MachineRestored"
"""Added by `import_`, if the schema has it."""


class Lifecycle(Engine):
    """The part of a `Machine` that concerns its whole life."""

    __slots__ = (
        "_children",
        "_dispose_callbacks",
        "_forks",
        "_gone",
        "_is_leaving",
        "_late",
        "dispose_timeout",
        "parent",
    )

    def __init__(self, id: str, schema: CompiledSchema, parent: Machine | None) -> None:
        super().__init__(id, schema)
        self._dispose_callbacks: tuple[Callable[[], None], ...] = ()
        self._children: dict[Lifecycle, None] | None = None
        self._forks: Forks | None = None
        # Whether `dispose` was called, and Start is still being removed.
        self._is_leaving = False
        self._gone = False
        # Ends the wait for a drain that runs while the machine is disposed.
        self._late: threading.Timer | None = None
        self.dispose_timeout = 1.0
        self.parent = parent

    @property
    def is_disposed(self) -> bool:
        """Whether the machine is disposed; `when_disposed` follows after the callbacks."""
        return self._gone

    def _adopt_child(self, child: Lifecycle) -> None:
        tell(self._tracers, "new_submachine", self, child)
        with self._lock:
            if not self.is_disposed:
                if self._children is None:
                    self._children = {}
                self._children[child] = None
                return
        child.dispose()

    def _forget_child(self, child: Lifecycle) -> None:
        with self._lock:
            if self._children is not None:
                self._children.pop(child, None)

    # Observers.

    def observe_clock(self, observer: ClockObserver) -> ClockReading:
        """Let an observer collect which ticks change from the returned reading on."""
        with self._lock:
            self._observers = (*self._observers, observer)
            ticks = tuple(enumerate(self._ticks))
            return ClockReading(ticks, self._queue_tick, self._machine_tick, self._compiled)

    def read_changes(self, observer: ClockObserver) -> tuple[ClockTicks, int, int, CompiledSchema]:
        """What a `ClockReading` has, of the ticks that changed since the observer's last one.

        A plain tuple: a feed calls this for every update.
        """
        with self._lock:
            ticks = self._ticks
            mask = observer.take()
            if not ticks:  # disposed
                changed: ClockTicks = ()
            elif mask & (mask - 1):
                changed = tuple([(at, ticks[at]) for at in bits(mask)])
            elif mask:  # one state: by far the most frequent case
                at = mask.bit_length() - 1
                changed = ((at, ticks[at]),)
            else:
                changed = ()
            return changed, self._queue_tick, self._machine_tick, self._compiled

    def unobserve_clock(self, observer: ClockObserver) -> None:
        """Stop telling an observer."""
        with self._lock:
            self._observers = tuple(other for other in self._observers if other is not observer)

    # Export and import (spec machine 9.4).

    def export(self) -> dict[str, Any]:
        """Id, names, ticks, queue tick and machine tick, as plain values."""
        exported = super().export()
        self._write_log(LogLevel.OPS, f"[import] exported at {sum(exported['time'])} ticks")
        return exported

    def import_(self, data: Mapping[str, Any], *, queue_tick: bool = False) -> None:
        """Take over an exported clock; no handlers, tracers or waits hear of it.

        The machine tick becomes the exported one plus 1. The state MachineRestored is added
        afterwards, if the schema has it.

        Args:
            data: What `export` gave.
            queue_tick: Whether the queue tick goes on as well, for a machine that others follow;
                the spec leaves it as it is.

        Raises:
            InvalidArgs: Another machine's id, other states, or a mutation is running.
        """
        ticks = self._imported_ticks(data)
        with self._lock:
            if self._drainer:
                raise InvalidArgs("import: a transition is running; import from outside of it")
            order = [self._index[name] for name in data["state_names"]]
            active = tuple(at for at in order if ticks[at] & 1)
            changed = sum(1 << at for at, tick in enumerate(ticks) if tick != self._ticks[at])
            self._ticks = ticks
            self._node = self._compiled.plans.node(active)
            self._machine_tick = int(data["machine_tick"]) + 1
            if queue_tick:
                self._queue_tick = max(self._queue_tick, int(data["queue_tick"]))
            for observer in self._observers:
                observer.touch(changed)
        text = f"[import] imported {self._machine_tick} times, now at {sum(ticks)} ticks"
        self._write_log(LogLevel.CHANGES, text)
        if self.has(RESTORED):
            self._mutate(MutationType.ADD, (RESTORED,), NO_ARGS, None)

    def _imported_ticks(self, data: Mapping[str, Any]) -> list[int]:
        """The ticks of an export in this machine's order of states."""
        names, ticks = list(data["state_names"]), list(data["time"])
        if data["id"] != self._id:
            raise InvalidArgs(f"import: exported from {data['id']!r}, this machine is {self._id!r}")
        if sorted(names) != sorted(self._names) or len(ticks) != len(names):
            raise InvalidArgs(
                f"import: the states differ: {names} exported, {list(self._names)} here"
            )
        if not all(isinstance(tick, int) and tick >= 0 for tick in ticks):
            raise InvalidArgs(f"import: time={ticks!r}: a tick is a whole number, 0 or more")
        by_name = dict(zip(names, ticks, strict=True))
        return [by_name[name] for name in self._names]

    # Another schema (spec machine 1.4 and 9.5).

    def set_schema(
        self, schema: Schema | type[States], states: Sequence[str] | None = None
    ) -> None:
        """Replace the schema by a longer one; clocks, active states and waits stay.

        Args:
            schema: The whole new schema, with all the present states.
            states: The new order of all states; that of the schema if None.

        Raises:
            SchemaError: It contradicts itself, is not longer, or lacks a present state; or a
                transition is running. Nothing has changed then.
        """
        compiled = compile_schema(definitions_of(schema), states)
        if compiled.errors:
            raise SchemaError("; ".join(map(str, compiled.errors)))
        if len(compiled.names) <= len(self._names):
            raise SchemaError(
                f"set_schema: {len(compiled.names)} states are not more than the present "
                f"{len(self._names)}; a schema can only grow"
            )
        if lost := [name for name in self._names if name not in compiled.index]:
            raise SchemaError(f"set_schema: {' '.join(lost)} missing; keep the present states")
        old = self._change_schema(compiled)
        tell(self._tracers, "verify_states", self)
        tell(self._tracers, "schema_change", self, old)

    def verify_states(self, *states: str) -> None:
        """Fix another order of the states, which exports and time vectors follow.

        Raises:
            SchemaError: A name is unknown or left out, or a transition is running.
        """
        self._change_schema(compile_schema(dict(self._states), states))
        tell(self._tracers, "verify_states", self)

    def _change_schema(self, compiled: CompiledSchema) -> dict[str, State]:
        old = dict(self._states)
        with self._lock:
            if self._drainer or self._queue.waiting:
                raise SchemaError("a transition is running; change the schema outside of it")
            active = tuple(compiled.index[name] for name in self._node.ordered_names)
            self._adopt(compiled)
            self._compiled = compiled
            self._exception_index = compiled.index[EXCEPTION]
            self._node = compiled.plans.node(active)
            if self._handlers is not None:
                self._handlers = self._handlers.adopt(compiled)
            if self._log is not None:
                self._log.schema = compiled
            for observer in self._observers:
                observer.touch((1 << len(compiled.names)) - 1)
        return old

    # The end (spec machine 9.6).

    def on_dispose(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the machine is disposed, in order of registration."""
        self._dispose_callbacks = (*self._dispose_callbacks, callback)

    def dispose(self) -> None:
        """Dispose the machine: remove Start, end the drain, cancel tasks, release all waits.

        Finished when `when_disposed()` is: at once, or when the running drain, the tasks of
        async handlers and forked threads have ended. A drain is waited for no longer than
        `dispose_timeout`. From then on mutations are canceled and reads are empty.
        """
        if self._disposing or self._is_leaving:
            return
        if self.is_(START):
            self._is_leaving = True
            result = self._mutate(MutationType.REMOVE, (START,), NO_ARGS, None)
            if result.is_queued:
                # Its handlers take leave in the drain that is running: dispose after that.
                self.when_queue_ends().add_done_callback(self._start_dispose)
                return
        self._start_dispose()

    def _start_dispose(self) -> None:
        with self._lock:
            if self._disposing:
                return
            self._close_doors()
            is_draining = self._drainer != 0
            if is_draining:
                late = self._late = threading.Timer(self.dispose_timeout, self._dispose_late)
        if is_draining:
            late.daemon = True
            late.start()
        else:
            self._dispose_now()

    def _dispose_late(self) -> None:
        """The running handler has had its time."""
        if self._log is not None:
            self._log.last(LogLevel.DECISIONS, f"[doDispose] timeout {self.dispose_timeout} s")
        self._dispose_now()

    def _close_doors(self) -> None:
        """From now on mutations are canceled; the caller holds the lock."""
        self._disposing = True
        self._plain = False
        if self._log is not None:
            self._log.mute()

    def dispose_force(self) -> None:
        """Dispose the machine now: not waiting for a running handler, nor for tasks."""
        with self._lock:
            self._close_doors()
        if self._forks is not None:
            self._forks.cancel_all(_nothing)
        if self._tasks is not None:
            self._tasks.cancel_all(_nothing)
        self._finish_dispose()

    def _dispose_now(self) -> None:
        if self._forks is None:
            self._end_tasks()
        else:
            self._forks.cancel_all(self._end_tasks)

    def _end_tasks(self) -> None:
        if self._tasks is None:
            self._finish_dispose()
        else:
            self._tasks.cancel_all(self._finish_dispose)

    def _leave_with_parent(self) -> None:
        """The parent is disposed: say goodbye by the state Disposing, if there is one.

        Whoever handles Disposing disposes the machine; if nobody does in time, this does.
        """
        if self._handlers is None or not self.has(DISPOSING):
            self.dispose()
            return
        self._own_forks().launch(self.dispose, "dispose", delay=2 * self.dispose_timeout)
        self._mutate(MutationType.ADD, (DISPOSING,), NO_ARGS, None)

    def _own_forks(self) -> Forks:
        with self._lock:
            if self._forks is None:
                self._forks = Forks(self)  # type: ignore[arg-type]  # it is a Machine
            return self._forks

    def _finish_dispose(self) -> None:
        with self._lock:
            if self.is_disposed:
                return
            tracers = self._tracers
            self._handlers = None
            self._node = self._compiled.plans.node(())
            self._index = {}
            self._ticks = []
            dropped = self._queue.discard_all()
            self._gone = True
            late, self._late = self._late, None
        if late is not None:
            late.cancel()
        tell(tracers, "machine_dispose", self._id)
        self._give_up_checks(dropped)
        self._subs.release_all()
        self._call_dispose_callbacks()
        if self._threads is not None:
            self._threads.stop()
        if self._log is not None:
            self._log.last(LogLevel.EVERYTHING, "[end] doDispose")
        self._disposed_wait.release()

    def _call_dispose_callbacks(self) -> None:
        with self._lock:
            children, self._children = self._children or {}, None
        for child in children:
            child._leave_with_parent()
        if self.parent is not None:
            self.parent._forget_child(self)
        callbacks, self._dispose_callbacks = self._dispose_callbacks, ()
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.exception("[%s] a dispose callback failed", self._id)


def _nothing() -> None:
    pass
