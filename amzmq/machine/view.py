"""What can be read from a clock, and waited for: the same on a machine and on a replica.

`MachineView` is the common base of `Machine` and `NetworkMachine` (design decision 4). It needs
the names, the ticks and the set of active names; how these change is the subclass's business.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from amzmq.errors import InvalidArgs, StateUnknown
from amzmq.machine.clock import Time, next_active_in
from amzmq.machine.compiled import CompiledSchema
from amzmq.machine.conditions import Condition, QueryWait, QueueWait, StatesWait, TimeWait
from amzmq.machine.logs import LogLevel
from amzmq.machine.schema import EXCEPTION, State
from amzmq.machine.subscriptions import Subscriptions, states_key
from amzmq.machine.wait import StateCtx, Wait


class MachineView(ABC):
    """Reads and waits of a state machine (spec machine 6 and 9.2).

    The lock is held to commit and to register waits, never while user code runs.
    """

    __slots__ = (
        "__weakref__",
        "_compiled",
        "_disposed_wait",
        "_id",
        "_index",
        "_lock",
        "_names",
        "_states",
        "_subs",
        "_ticks",
    )

    def __init__(self, id: str, schema: CompiledSchema, lock: threading.Lock | None = None) -> None:
        self._id = id
        self._compiled = schema
        self._names = schema.names
        self._index: Mapping[str, int] = schema.index
        self._states: Mapping[str, State] = schema.states
        self._ticks = [0] * len(self._names)
        self._lock = lock or threading.Lock()
        self._subs = Subscriptions(self._lock)
        self._disposed_wait = Wait()

    # What the subclass provides.

    @property
    @abstractmethod
    def _queue_tick(self) -> int:
        """See `queue_tick`."""

    @property
    @abstractmethod
    def _machine_tick(self) -> int:
        """See `machine_tick`."""

    @abstractmethod
    def _active_names(self) -> frozenset[str]:
        """The names of the active states: one immutable object a commit, replaced by it."""

    @abstractmethod
    def _active_order(self) -> Sequence[str]:
        """The names of the active states in the order of their activation."""

    # Identity and schema.

    @property
    def id(self) -> str:
        """The machine's id."""
        return self._id

    @property
    def state_names(self) -> tuple[str, ...]:
        """All state names, in index order."""
        return self._names

    @property
    def compiled(self) -> CompiledSchema:
        """The schema by indexes; shared by all machines of an equal one."""
        return self._compiled

    @property
    def schema(self) -> dict[str, State]:
        """A copy of the sanitised schema."""
        return dict(self._states)

    @property
    def queue_tick(self) -> int:
        """How many appended mutations were taken off the queue, plus one (spec machine 2.2)."""
        return self._queue_tick

    @property
    def machine_tick(self) -> int:
        """How many times the machine's clock was imported."""
        return self._machine_tick

    @property
    def schema_ver(self) -> int:
        """The number of states; a schema only ever grows."""
        return len(self._names)

    def parse_states(self, *states: str) -> list[str]:
        """Those of `states` that the machine has, each once, in the given order."""
        return [state for state in dict.fromkeys(states) if state in self._index]

    def relations_of(self, state: str) -> list[str]:
        """The kinds of relations a state has, in the order add, require, remove, after.

        Raises:
            StateUnknown: The name is not a state of this machine.
        """
        self._indexes((state,))
        return [kind for kind, _ in self._states[state].relations()]

    def relations_between(self, state: str, other: str) -> list[str]:
        """The kinds of relations from `state` to `other`; the order is that of `relations_of`.

        Raises:
            StateUnknown: A name is not a state of this machine.
        """
        self._indexes((state, other))
        return [kind for kind, names in self._states[state].relations() if other in names]

    def inbound_relations_of(self, state: str) -> list[str]:
        """The other states that relate to `state`, one entry for each relation.

        Raises:
            StateUnknown: The name is not a state of this machine.
        """
        self._indexes((state,))
        return [
            name
            for name in self._names
            if name != state
            for _, names in self._states[name].relations()
            if state in names
        ]

    def has(self, *states: str) -> bool:
        """Whether all the names are states of this machine."""
        return all(state in self._index for state in states)

    def index(self, state: str) -> int:
        """The index of a state; -1 when unknown."""
        return self._index.get(state, -1)

    # Checks.

    def is_(self, *states: str) -> bool:
        """Whether all of `states` are active; an unknown name never is."""
        if self._active_names().issuperset(states):
            return True
        if self._subs.log is not None:
            for state in states:
                if state not in self._index:
                    self._subs.log.write(LogLevel.DECISIONS, f"[is] state {state} not found")
        return False

    def not_(self, *states: str) -> bool:
        """Whether none of `states` is active.

        Raises:
            StateUnknown: A name is not a state of this machine.
        """
        self._indexes(states)
        return not self.is_disposed and self._active_names().isdisjoint(states)

    def any_(self, *states: str | Iterable[str]) -> bool:
        """Whether any of the arguments holds: a state, or a group of which all are active.

        >>> from amzmq import Machine, State
        >>> m = Machine({"A": State(), "B": State(), "C": State()})
        >>> _ = m.add("A", "B")
        >>> m.any_("C", ("A", "B"))
        True
        """
        active = self._active_names()
        return any(
            state in active if isinstance(state, str) else active.issuperset(state)
            for state in states
        )

    def is_err(self) -> bool:
        """Whether the Exception state is active."""
        return EXCEPTION in self._active_names()

    def switch(self, *states: str) -> str:
        """The first of `states` that is active; "" when none is."""
        active = self._active_names()
        return next((state for state in states if state in active), "")

    def active_states(self, *states: str) -> list[str]:
        """The active states, in active order; with arguments, those of them that are active."""
        if not states:
            return list(self._active_order())
        active = self._active_names()
        return [state for state in states if state in active]

    # Clocks.

    def tick(self, state: str) -> int:
        """The tick of one state; 0 when unknown."""
        at = self._index.get(state)
        return 0 if at is None else self._ticks[at]

    def time(self, *states: str) -> Time:
        """The ticks in index order, or of the given states; 0 for an unknown one."""
        with self._lock:
            ticks = Time(self._ticks)
        return ticks if not states else Time(ticks.tick(self.index(s)) for s in states)

    def clock(self, *states: str) -> dict[str, int]:
        """The ticks by name, of all or of the given states."""
        wanted = states or tuple(self._index)
        return dict(zip(wanted, self.time(*wanted), strict=True))

    def is_clock(self, clock: Mapping[str, int]) -> bool:
        """Whether every given tick equals the current one."""
        return self.time(*clock) == tuple(clock.values()) if clock else True

    def was_clock(self, clock: Mapping[str, int]) -> bool:
        """Whether every current tick is at least the given one."""
        return self.time(*clock).after(clock.values(), or_equal=True) if clock else True

    def is_time(self, time: Sequence[int], *states: str) -> bool:
        """Whether the ticks (of the given states) equal `time`."""
        return self.time(*states) == tuple(time)

    def was_time(self, time: Sequence[int], *states: str) -> bool:
        """Whether the ticks (of the given states) are at least `time`."""
        return self.time(*states).after(time, or_equal=True)

    # Text.

    def __str__(self) -> str:
        """The active states with their ticks, e.g. ``(A:1 B:3)``; "" once disposed."""
        if self.is_disposed:
            return ""
        return f"({self._listed(self.time(), 1)})"

    def string_all(self) -> str:
        """All states with their ticks, e.g. ``(A:1 B:3) [C:2 Exception:0]``."""
        if self.is_disposed:
            return ""
        time = self.time()
        return f"({self._listed(time, 1)}) [{self._listed(time, 0)}]"

    def _listed(self, time: Time, parity: int) -> str:
        pairs = zip(self._names, time, strict=False)
        return " ".join(f"{name}:{tick}" for name, tick in pairs if tick & 1 == parity)

    def inspect(self, *states: str) -> str:
        """A description of several lines: activity, tick, properties and relations."""
        return "".join(self._inspect_state(name) for name in states or tuple(self._index))

    def _inspect_state(self, name: str) -> str:
        state = self._states.get(name, State())
        lines = [f"{int(self.tick(name) & 1)} {name}"]
        rows: list[tuple[str, str]] = [("Tick", str(self.tick(name)))]
        rows += [(kind, "true") for kind in ("Auto", "Multi") if getattr(state, kind.lower())]
        rows += [
            (kind, " ".join(names))
            for kind in ("Add", "Require", "Remove", "After")
            if (names := getattr(state, kind.lower()))
        ]
        lines += [f"    |{label:<9}{value}" for label, value in rows]
        return "\n".join(lines) + "\n"

    def export(self) -> dict[str, Any]:
        """Id, names, ticks, queue tick and machine tick, as plain values (spec machine 9.4)."""
        with self._lock:
            return {
                "id": self._id,
                "state_names": list(self._names),
                "time": list(self._ticks),
                "queue_tick": self._queue_tick,
                "machine_tick": self._machine_tick,
            }

    # Waits (spec machine 6).

    def when(self, *states: str, ctx: Wait | None = None) -> Wait:
        """Wait until all of `states` are active at once.

        Args:
            states: Names.
            ctx: A state context, or any wait: once it is done, so is this wait, at the latest
                after the next accepted mutation. Look again at the states then.
        """
        return self._when_states(states, True, ctx)

    def when_not(self, *states: str, ctx: Wait | None = None) -> Wait:
        """Wait until all of `states` are inactive at once; `ctx` as for `when`."""
        return self._when_states(states, False, ctx)

    def when_err(self, *, ctx: Wait | None = None) -> Wait:
        """Wait until Exception is active; `ctx` as for `when`."""
        return self._when_states((EXCEPTION,), True, ctx)

    def when_time(self, times: Mapping[str, int], *, ctx: Wait | None = None) -> Wait:
        """Wait until each state has reached its tick, not necessarily all at once.

        Args:
            times: The tick of each state.
            ctx: As for `when`.

        Raises:
            InvalidArgs: `times` is empty or no mapping.
            StateUnknown: A name is not a state of this machine.
        """
        if not isinstance(times, Mapping) or not times:
            raise InvalidArgs(f"when_time({times!r}): give a mapping like {{'Ready': 3}}")
        with self._lock:
            indexes = self._indexes(tuple(times))
            if self._is_moot(ctx):
                return _released()
            wanted = dict(zip(indexes, times.values(), strict=True))
            key = ("time", tuple(wanted.items()), ctx)
            if (found := self._subs.shared(key)) is not None:
                return found
            missing = {at: tick for at, tick in wanted.items() if self._ticks[at] < tick}
            if not missing:
                return _released()
            made = self._subs.enlist(TimeWait(self, ctx, key, missing, dict(times)))
        return self._subs.tell_new(made)

    def when_ticks(self, state: str, ticks: int, *, ctx: Wait | None = None) -> Wait:
        """Wait until `state` has ticked `ticks` times from now; `ctx` as for `when`."""
        return self.when_time({state: self.tick(state) + ticks}, ctx=ctx)

    def when_next_active(self, state: str, *, ctx: Wait | None = None) -> Wait:
        """Wait for the next activation of `state`; the current one does not count."""
        return self.when_ticks(state, next_active_in(self.tick(state)), ctx=ctx)

    def when_query(
        self, query: Callable[[Mapping[str, int]], bool], *, ctx: Wait | None = None
    ) -> Wait:
        """Wait until `query(clock)` is true after a transition; not evaluated right now."""
        if not callable(query):
            raise InvalidArgs(f"when_query({query!r}): give a function of the clock")
        with self._lock:
            if self._is_moot(ctx):
                return _released()
            made = self._subs.enlist(QueryWait(self, ctx, query))
        return self._subs.tell_new(made)

    def when_queue(self, tick: int, *, ctx: Wait | None = None) -> Wait:
        """Wait until the queue has reached `tick`; any Result of a mutation may be passed."""
        with self._lock:
            if self._queue_tick >= tick or self._is_moot(ctx):
                return _released()
            made = self._subs.enlist(QueueWait(self, ctx, tick))
        return self._subs.tell_new(made)

    def when_disposed(self) -> Wait:
        """Wait until the machine is disposed."""
        return self._disposed_wait

    @property
    def is_disposed(self) -> bool:
        """Whether the machine is disposed."""
        return self._disposed_wait.done()

    def state_ctx(self, state: str) -> StateCtx:
        """The context of a state, which expires when its tick next changes (spec 6.2).

        Raises:
            StateUnknown: The name is not a state of this machine.
        """
        with self._lock:
            indexes = self._indexes((state,))
            if self.is_disposed:
                return StateCtx(self._id, state, 0)
            at = indexes[0]
            count = self._subs.pending
            context = self._subs.context(self._id, state, at, self._ticks[at])
            is_new = self._subs.pending > count
        if is_new and self._subs.log is not None:
            self._subs.log.context(context, "new")
        return context

    def _when_states(self, states: tuple[str, ...], wanted: bool, ctx: Wait | None) -> Wait:
        with self._lock:
            indexes = frozenset(self._indexes(states))
            if self._is_moot(ctx):
                return _released()
            key = states_key(indexes, wanted, ctx)
            if (found := self._subs.shared(key)) is not None:
                return found
            wait = StatesWait(self, ctx, key, indexes, wanted)
            if wait.met(self._ticks, self._queue_tick):
                return _released()
            self._subs.enlist(wait)
        return self._subs.tell_new(wait)

    def _is_moot(self, ctx: Wait | None) -> bool:
        """Whether waiting makes no sense: disposed, or the token is done already."""
        return self.is_disposed or (ctx is not None and ctx.done())

    def _withdraw(self, wait: Wait) -> None:
        assert isinstance(wait, Condition)
        with self._lock:
            # Somebody may have come back to it before the lock was free.
            if wait.cancelled():
                self._subs.drop(wait)

    def _rejoin(self, wait: Wait) -> None:
        assert isinstance(wait, Condition)
        with self._lock:
            if wait.listed:
                return
            if not self._is_moot(wait.token) and not wait.met(self._ticks, self._queue_tick):
                self._subs.enlist(wait)
                return
        wait.release()

    def _adopt(self, schema: CompiledSchema) -> None:
        """Change to another schema that has all the present states; the caller holds the lock.

        Ticks are kept by name, new states start at 0, and waits go on.
        """
        ticks = dict(zip(self._names, self._ticks, strict=True))
        new = {at: schema.index[name] for at, name in enumerate(self._names)}
        self._names = schema.names
        self._index = schema.index
        self._states = schema.states
        self._ticks = [ticks.get(name, 0) for name in schema.names]
        self._subs.renumber(new)

    def _indexes(self, states: tuple[str, ...]) -> tuple[int, ...]:
        """The indexes of names; none on a disposed machine.

        Raises:
            StateUnknown: A name is not a state of this machine.
        """
        try:
            return tuple([self._index[state] for state in states])
        except (KeyError, TypeError):
            if self.is_disposed:
                return ()
            unknown = tuple(s for s in states if not isinstance(s, str) or s not in self._index)
            raise StateUnknown(unknown, self._id, self._names) from None


def _released() -> Wait:
    wait = Wait()
    wait.release()
    return wait
