"""Who waits for what on one machine or replica (spec machine 6).

Rules: all registers are guarded by the lock of their owner, so that "is it true already?" and
"tell me when" are one step against a commit. Releasing runs callbacks of users, so it happens
outside of the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping

from amzmq.machine.wait import StateCtx, Wait


class StatesWait(Wait):
    """Waits until all of `states` are active (`wanted` True), or all inactive."""

    __slots__ = ("key", "missing", "states", "wanted")

    def __init__(
        self,
        withdraw: Callable[[Wait], None],
        key: Hashable,
        states: frozenset[int],
        wanted: bool,
        missing: set[int],
    ) -> None:
        super().__init__(withdraw)
        self.key = key
        self.states = states
        self.wanted = wanted
        self.missing = missing


class TimeWait(Wait):
    """Waits until each state has reached its tick; each is remembered once reached."""

    __slots__ = ("key", "missing")

    def __init__(
        self, withdraw: Callable[[Wait], None], key: Hashable, missing: dict[int, int]
    ) -> None:
        super().__init__(withdraw)
        self.key = key
        self.missing = missing


class QueueWait(Wait):
    """Waits until the queue tick has reached `tick`."""

    __slots__ = ("tick",)

    def __init__(self, withdraw: Callable[[Wait], None], tick: int) -> None:
        super().__init__(withdraw)
        self.tick = tick


class QueryWait(Wait):
    """Waits until a predicate over the clock is true at the end of a transition."""

    __slots__ = ("query",)

    def __init__(
        self, withdraw: Callable[[Wait], None], query: Callable[[Mapping[str, int]], bool]
    ) -> None:
        super().__init__(withdraw)
        self.query = query


class ArgsWait(Wait):
    """Waits until a state's final handlers ran with the given arguments."""

    __slots__ = ("args", "state")

    def __init__(
        self, withdraw: Callable[[Wait], None], state: int, args: Mapping[str, object]
    ) -> None:
        super().__init__(withdraw)
        self.state = state
        self.args = dict(args)

    def matches(self, args: Mapping[str, object]) -> bool:
        """Whether `args` has every expected key with an equal value."""
        return all(key in args and args[key] == value for key, value in self.args.items())


class Subscriptions:
    """The registers of waits.

    Args:
        lock: The owner's lock; held by the owner while it commits, by this while it registers.

    Attributes:
        pending: How many waits and contexts are registered. The owner's fast road is open only
            at 0.
    """

    __slots__ = (
        "_contexts",
        "_lock",
        "_queue_ends",
        "args_waits",
        "by_state",
        "pending",
        "queries",
        "queue_waits",
        "shared",
        "time_waits",
    )

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.pending = 0
        self.by_state: dict[int, list[StatesWait]] = {}
        self.time_waits: dict[int, list[TimeWait]] = {}
        self.queue_waits: list[QueueWait] = []
        self.queries: list[QueryWait] = []
        self.args_waits: list[ArgsWait] = []
        self.shared: dict[Hashable, Wait] = {}
        self._contexts: dict[int, StateCtx] = {}
        self._queue_ends: list[Wait] = []

    # Registering. The caller holds the lock and has found the condition not met yet.

    def wait_states(self, states: frozenset[int], wanted: bool, missing: set[int]) -> Wait:
        """Register (or share) a wait for states being active or inactive."""
        key = ("states", wanted, states)
        found = self.shared.get(key)
        if found is not None:
            return found
        wait = StatesWait(self.withdraw, key, states, wanted, missing)
        for state in sorted(states):
            self.by_state.setdefault(state, []).append(wait)
        return self._add_shared(key, wait)

    def wait_time(self, times: Mapping[int, int], missing: dict[int, int]) -> Wait:
        """Register (or share) a wait for ticks."""
        key = ("time", tuple(times.items()))
        found = self.shared.get(key)
        if found is not None:
            return found
        wait = TimeWait(self.withdraw, key, missing)
        for state in missing:
            self.time_waits.setdefault(state, []).append(wait)
        return self._add_shared(key, wait)

    def wait_queue(self, tick: int) -> Wait:
        """Register a wait for a queue tick."""
        wait = QueueWait(self.withdraw, tick)
        self.queue_waits.append(wait)
        self.pending += 1
        return wait

    def wait_query(self, query: Callable[[Mapping[str, int]], bool]) -> Wait:
        """Register a predicate."""
        wait = QueryWait(self.withdraw, query)
        self.queries.append(wait)
        self.pending += 1
        return wait

    def wait_args(self, state: int, args: Mapping[str, object]) -> Wait:
        """Register (or share) a wait for a call with arguments.

        A wait whose arguments are a subset of an existing one's shares it (a quirk of the
        reference).
        """
        for wait in self.args_waits:
            if wait.state == state and all(
                key in wait.args and wait.args[key] == value for key, value in args.items()
            ):
                return wait
        wait = ArgsWait(self.withdraw, state, args)
        self.args_waits.append(wait)
        self.pending += 1
        return wait

    def wait_queue_ends(self) -> Wait:
        """Register a wait for the end of the current drain."""
        wait = Wait(self.withdraw)
        self._queue_ends.append(wait)
        self.pending += 1
        return wait

    def context(self, machine_id: str, name: str, state: int, tick: int) -> StateCtx:
        """The context of a state, one until it expires."""
        context = self._contexts.get(state)
        if context is None:
            context = self._contexts[state] = StateCtx(machine_id, name, tick)
            self.pending += 1
        return context

    def _add_shared(self, key: Hashable, wait: Wait) -> Wait:
        self.shared[key] = wait
        self.pending += 1
        return wait

    # Releasing.

    def expire_contexts(self, states: Iterable[int]) -> None:
        """Expire the contexts of states that were entered or left."""
        if not self._contexts:
            return
        with self._lock:
            expired = [self._contexts.pop(s) for s in states if s in self._contexts]
            self.pending -= len(expired)
        for context in expired:
            context.release()

    def args_called(self, state: int, args: Mapping[str, object]) -> None:
        """A state's final handlers have run with `args`."""
        with self._lock:
            matched = [w for w in self.args_waits if w.state == state and w.matches(args)]
            self._drop(matched)
        for wait in matched:
            wait.release()

    def process(
        self,
        activated: Iterable[int],
        deactivated: Iterable[int],
        ticks: list[int],
        ticked: Iterable[int],
        queue_tick: int,
        clock: Callable[[], Mapping[str, int]],
    ) -> None:
        """After an accepted transition: release what it fulfils, in the order of spec 6.1."""
        if not self.pending:
            return
        with self._lock:
            matched: list[Wait] = []
            if self.by_state:
                matched += self._match_states(tuple(activated), tuple(deactivated))
            if self.time_waits:
                matched += self._match_times(ticks, ticked)
            matched += [wait for wait in self.queue_waits if wait.tick <= queue_tick]
            self._drop(matched)
            queries = list(self.queries)
        for wait in matched:
            wait.release()
        if queries:
            self._process_queries(queries, clock())

    def _match_states(
        self, activated: tuple[int, ...], deactivated: tuple[int, ...]
    ) -> list[StatesWait]:
        """Waits met now, looking at the activated states first, then at the deactivated.

        Quirk of the reference, held by its vectors: a wait that an activation fulfils is
        released even if a deactivation of the same transition would have un-met it.
        """
        matched: dict[StatesWait, None] = {}
        for states, meets in ((activated, True), (deactivated, False)):
            for state in states:
                for wait in self.by_state.get(state, ()):
                    if wait.wanted is not meets:
                        wait.missing.add(state)
                        continue
                    wait.missing.discard(state)
                    if not wait.missing:
                        matched[wait] = None
        return list(matched)

    def _match_times(self, ticks: list[int], ticked: Iterable[int]) -> list[TimeWait]:
        matched = []
        for state in sorted(ticked):
            for wait in self.time_waits.get(state, ()):
                wanted = wait.missing.get(state)
                if wanted is not None and ticks[state] >= wanted:
                    del wait.missing[state]
                    if not wait.missing:
                        matched.append(wait)
        return matched

    def _process_queries(self, queries: list[QueryWait], clock: Mapping[str, int]) -> None:
        matched = [wait for wait in queries if wait.query(clock)]
        with self._lock:
            self._drop(matched)
        for wait in matched:
            wait.release()

    def queue_ended(self) -> None:
        """The drain has ended."""
        if not self._queue_ends:
            return
        with self._lock:
            waits, self._queue_ends = self._queue_ends, []
            self.pending -= len(waits)
        for wait in waits:
            wait.release()

    def release_all(self) -> None:
        """Release everything: the machine is disposed."""
        with self._lock:
            waits: list[Wait] = [
                *self._contexts.values(),
                *self.shared.values(),
                *self.queue_waits,
                *self.queries,
                *self.args_waits,
                *self._queue_ends,
            ]
            for register in (self._contexts, self.shared, self.by_state, self.time_waits):
                register.clear()
            for waiting in (self.queue_waits, self.queries, self.args_waits, self._queue_ends):
                waiting.clear()
            self.pending = 0
        for wait in waits:
            wait.release()

    def withdraw(self, wait: Wait) -> None:
        """Forget a wait that nobody waits for any more."""
        with self._lock:
            self._drop([wait])

    def _drop(self, waits: Iterable[Wait]) -> None:
        for wait in waits:
            if self._remove(wait):
                self.pending -= 1

    def _remove(self, wait: Wait) -> bool:
        """Take a wait out of its registers; False when it was not there any more."""
        if isinstance(wait, (StatesWait, TimeWait)):
            if self.shared.get(wait.key) is not wait:
                return False
            del self.shared[wait.key]
            if isinstance(wait, StatesWait):
                for state in wait.states:
                    _discard(self.by_state, state, wait)
            else:
                for state in [s for s, waits in self.time_waits.items() if wait in waits]:
                    _discard(self.time_waits, state, wait)
            return True
        for register in (self.queue_waits, self.queries, self.args_waits, self._queue_ends):
            if wait in register:
                register.remove(wait)  # type: ignore[arg-type]
                return True
        return False


def _discard(
    register: dict[int, list[StatesWait]] | dict[int, list[TimeWait]],
    state: int,
    wait: StatesWait | TimeWait,
) -> None:
    waits = register[state]
    waits.remove(wait)  # type: ignore[arg-type]
    if not waits:
        del register[state]
