"""What can be attached to a machine: handlers, tracers, callbacks, breakpoints, a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from amzmq.errors import BindError
from amzmq.machine.clock import Time
from amzmq.machine.engine import Breakpoint
from amzmq.machine.event import Event, EventCopy
from amzmq.machine.handlers import Handlers
from amzmq.machine.lifecycle import Lifecycle
from amzmq.machine.logs import ArgsMapper, LogLevel, MachineLog, Sink, log_args
from amzmq.machine.schema import EXCEPTION
from amzmq.machine.tracer import Tracer

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine


class Watching(Lifecycle):
    """The part of a `Machine` to which others attach themselves."""

    __slots__ = ()

    # Callbacks.

    def on_change(self, callback: Callable[[Machine, Time, Time], None] | None) -> None:
        """Call `callback(machine, before, after)` at the end of each transition; one slot."""
        self._on_change = callback
        self._choose_road()

    def on_error(self, callback: Callable[[Machine, BaseException], None] | None) -> None:
        """Call `callback(machine, error)` in `add_err`; one slot."""
        self._on_error = callback

    # Handlers and tracers.

    def bind(self, handlers: object, id: str = "", state_prefix: str = "") -> str:
        """Bind handlers: the methods of an object, or a mapping of event names to functions.

        Those bound inside of a transition take part from its next phase on.

        Args:
            handlers: The handlers.
            id: Names the binding; random when empty.
            state_prefix: Begins the names of all events meant, and is left out in `handlers`:
                with the prefix ``Db`` the method ``ReadyState`` is for ``DbReadyState``.

        Returns:
            The id of the binding, for `detach`.

        Raises:
            BindError: Not bindable, or an async handler where no event loop runs.
        """
        if self._disposing:
            return ""
        while True:
            # Looking through `handlers` may run code of the user's, so not under the lock.
            compiled, present = self._compiled, self._handlers
            start = present or self._no_handlers()
            bound, clean = start.bind(handlers, id, state_prefix)
            with self._lock:
                if self._handlers is present and self._compiled is compiled:
                    self._handlers = bound
                    self._choose_road()
                    break
        self._write_log(LogLevel.OPS, f"[handlers] bind {bound.count - 1}:{clean}")
        if present is None and self.is_err() and self._err is not None:
            self._add_error(EXCEPTION, self._err)
        return clean

    def _no_handlers(self) -> Handlers:
        wrap = None if self._threads is None else self._threads.wrap
        return Handlers(self._compiled, wrap=wrap, every=self._logs_everything)

    def detach(self, id: str) -> None:
        """Undo a `bind`.

        Raises:
            BindError: Nothing is bound under this id.
        """
        with self._lock:
            if self._handlers is None:
                raise BindError(f"handlers not bound: id={id!r}; nothing is bound")
            self._handlers = self._handlers.detach(id)
        self._write_log(LogLevel.OPS, f"[handlers] detach {id}")

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
        with self._lock:
            self._tracers = (*self._tracers, tracer)
            self._choose_road()
        self._write_log(LogLevel.OPS, f"[tracers] bind {tracer.id}")
        return tracer.id

    def detach_tracer(self, id: str) -> None:
        """Detach the first tracer of this id.

        Raises:
            BindError: No tracer has it.
        """
        with self._lock:
            bound = self._tracers
            at = next((at for at, tracer in enumerate(bound) if tracer.id == id), None)
            if at is None:
                raise BindError(f"tracer not bound: id={id!r}; bound are: {[t.id for t in bound]}")
            self._tracers = bound[:at] + bound[at + 1 :]
            self._choose_road()
        self._write_log(LogLevel.OPS, f"[tracers] detach {id}")

    def tracers(self) -> list[Tracer]:
        """The bound tracers, in bind order."""
        return list(self._tracers)

    # Breakpoints and the log.

    def add_breakpoint(
        self, added: Iterable[str] = (), removed: Iterable[str] = (), strict: bool = False
    ) -> None:
        """Log a line when exactly these states are added, or removed (spec machine 9.7).

        Args:
            added: The called states of an add, in order.
            removed: The called states of a remove, in order.
            strict: Not when the mutation changes nothing.
        """
        point = Breakpoint(tuple(added), tuple(removed), strict)
        self._indexes((*point.added, *point.removed))
        with self._lock:
            self._breakpoints = (*self._breakpoints, point)
            self._choose_road()

    @property
    def log_level(self) -> LogLevel:
        """How much the machine logs."""
        return LogLevel.NOTHING if self._log is None else self._log.level

    def set_log(
        self,
        level: LogLevel,
        sink: Sink | None = None,
        args: ArgsMapper | None = log_args,
        show_id: bool = True,
    ) -> None:
        """Log what happens, line by line; this costs the fast roads.

        Args:
            level: How much.
            sink: Takes ``(level, line)``; the logger ``amzmq.machine`` does without one.
            args: Chooses which arguments of a mutation are logged; None logs none.
            show_id: Whether lines begin with the first five characters of the id.
        """
        log = MachineLog(self._id, self._compiled, LogLevel(level), sink, args, show_id)
        with self._lock:
            self._log = self._subs.log = log if level else None
            if self._handlers is not None:
                self._handlers = self._handlers.for_log(self._logs_everything)
            self._choose_road()

    @property
    def _logs_everything(self) -> bool:
        return self.log_level >= LogLevel.EVERYTHING

    def log_steps(self, on: bool = True, *, checks: bool = False) -> None:
        """Record the steps of each transition: `Transition.steps`; this costs the fast roads.

        Args:
            on: Whether to.
            checks: Those of dry runs too.
        """
        with self._lock:
            self._step_log = int(on) + int(on and checks)
            self._choose_road()

    def log(self, text: str) -> None:
        """Log a line of the user's own."""
        line = text.replace("\n", " ")
        self._write_log(LogLevel.EXTERNAL, f"[exter] {line}")

    def log_ev(self, event: Event | EventCopy, text: str) -> None:
        """Log a line of the user's own, with the name of the event it belongs to."""
        line = text.replace("\n", " ")
        self._write_log(LogLevel.EXTERNAL, f"[{event.name}] [exter] {line}")
