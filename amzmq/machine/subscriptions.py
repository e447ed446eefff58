"""Who waits for what on one machine or replica (spec machine 6).

Rules: all registers are guarded by the lock of their owner, so that "is it true already?" and
"tell me when" are one step against a commit. Releasing runs callbacks of users, so it happens
outside of the lock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from amzmq.machine.conditions import (
    ArgsWait,
    Condition,
    QueryWait,
    QueueWait,
    StatesWait,
    TimeWait,
)
from amzmq.machine.wait import StateCtx, Wait

if TYPE_CHECKING:
    from amzmq.machine.logs import MachineLog

_log = logging.getLogger("amzmq.machine")


class Subscriptions:
    """The registers of waits.

    Args:
        lock: The owner's lock; held by the owner while it commits, by this while it registers.

    Attributes:
        pending: How many waits and contexts are registered.
        watched: Bit mask of the states whose ticks some wait or context depends on.
        always: How many waits want a look after every accepted transition: those for the
            queue, for queries, and those with a token.
        log: Is told of new and of released waits, if anybody logs. Never with the lock held.
    """

    __slots__ = (
        "_contexts",
        "_lock",
        "_shared",
        "_time_waits",
        "_tokened",
        "_waits",
        "always",
        "args_waits",
        "log",
        "pending",
        "queries",
        "queue_ends",
        "queue_waits",
        "watched",
    )

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.pending = 0
        self.watched = 0
        self.always = 0
        self._contexts: dict[int, StateCtx] = {}
        # The states that are never left empty here: see _discard.
        self._waits: dict[int, list[StatesWait]] = {}
        self._time_waits: dict[int, list[TimeWait]] = {}
        self._shared: dict[Hashable, Condition] = {}
        self.args_waits: list[ArgsWait] = []
        self.queue_waits: list[QueueWait] = []
        self.queries: list[QueryWait] = []
        self._tokened: list[Condition] = []
        self.queue_ends: list[Wait] = []
        self.log: MachineLog | None = None

    # Registering. The caller holds the lock and has found the condition not met yet.

    def shared(self, key: Hashable) -> Condition | None:
        """The registered wait of this key."""
        return self._shared.get(key)

    def enlist(self, wait: Condition) -> Condition:
        """Register a wait."""
        wait.listed = True
        self.pending += 1
        if wait.key is not None:
            self._shared.setdefault(wait.key, wait)
        if wait.token is not None:
            self._tokened.append(wait)
            self.always += 1
        if isinstance(wait, StatesWait):
            for state in sorted(wait.states):
                self._waits.setdefault(state, []).append(wait)
        elif isinstance(wait, TimeWait):
            for state in wait.missing:
                self._time_waits.setdefault(state, []).append(wait)
        elif isinstance(wait, ArgsWait):
            self.args_waits.append(wait)
        else:
            self.always += 1
            if isinstance(wait, QueueWait):
                self.queue_waits.append(wait)
            else:
                assert isinstance(wait, QueryWait)
                wait.number = len(self.queries)
                self.queries.append(wait)
        for state in wait.watched():
            self.watched |= 1 << state
        return wait

    def tell_new(self, wait: Condition) -> Condition:
        """Log a wait that was registered; the caller has let go of the lock."""
        if self.log is not None:
            self.log.wait(wait, "new")
        return wait

    def wait_queue_ends(self) -> Wait:
        """Register a wait for the end of the current drain."""
        wait = Wait()
        self.queue_ends.append(wait)
        self.pending += 1
        return wait

    def context(self, machine_id: str, name: str, state: int, tick: int) -> StateCtx:
        """The context of a state, one until it expires."""
        context = self._contexts.get(state)
        if context is None:
            context = self._contexts[state] = StateCtx(machine_id, name, tick)
            self.pending += 1
            self.watched |= 1 << state
        return context

    # Releasing.

    def expire_contexts(self, states: Iterable[int]) -> None:
        """Expire the contexts of states that were entered or left."""
        if not self._contexts:
            return
        with self._lock:
            expired = []
            for state in states:
                context = self._contexts.pop(state, None)
                if context is not None:
                    expired.append(context)
                    self.pending -= 1
                    self._unwatch(state)
        for context in expired:
            if self.log is not None:
                self.log.context(context, "match")
            context.release()

    def args_called(self, state: int, args: Mapping[str, object]) -> None:
        """A state's final handlers have run with `args`."""
        with self._lock:
            waits = list(self.args_waits)
        # Comparing runs code of the user's, so not under the lock.
        matched = [wait for wait in waits if _expired(wait)]
        matched += [wait for wait in waits if wait.state == state and wait.matches(args)]
        if not matched:
            return
        with self._lock:
            self._drop(matched)
        self._release(matched)

    def process(
        self,
        activated: Iterable[int],
        deactivated: Iterable[int],
        ticks: Sequence[int],
        ticked: Iterable[int],
        queue_tick: int,
        clock: Callable[[], Mapping[str, int]],
    ) -> None:
        """After an accepted transition: release what it fulfils, in the order of spec 6.1."""
        with self._lock:
            matched: list[Condition] = []
            if self._tokened:
                expired = [wait for wait in self._tokened if _expired(wait)]
                matched += [wait for wait in expired if not isinstance(wait, ArgsWait)]
            if self._waits:
                matched += self._match_states(tuple(activated), tuple(deactivated))
            if self._time_waits:
                matched += self._match_times(ticks, ticked)
            matched += [wait for wait in self.queue_waits if wait.tick <= queue_tick]
            self._drop(matched)
            queries = list(self.queries)
        self._release(matched)
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
                for wait in self._waits.get(state, ()):
                    if wait.wanted is not meets:
                        wait.missing.add(state)
                        continue
                    wait.missing.discard(state)
                    if not wait.missing:
                        matched[wait] = None
        return list(matched)

    def _match_times(self, ticks: Sequence[int], ticked: Iterable[int]) -> list[TimeWait]:
        matched = []
        for state in sorted(ticked):
            for wait in list(self._time_waits.get(state, ())):
                if ticks[state] < wait.missing[state]:
                    continue
                del wait.missing[state]
                _discard(self._time_waits, state, wait)
                self._unwatch(state)
                if not wait.missing:
                    matched.append(wait)
        return matched

    def _process_queries(self, queries: list[QueryWait], clock: Mapping[str, int]) -> None:
        matched = [wait for wait in queries if _holds(wait, clock)]
        with self._lock:
            self._drop(matched)
        self._release(matched)

    def _release(self, matched: Iterable[Condition]) -> None:
        for wait in matched:
            if self.log is not None:
                self.log.wait(wait, "match")
            wait.release()

    def take_queue_ends(self) -> list[Wait]:
        """The waits for the end of the drain that ends now; the caller holds the lock."""
        waits, self.queue_ends = self.queue_ends, []
        self.pending -= len(waits)
        return waits

    def release_all(self) -> None:
        """Release everything: the machine is disposed."""
        with self._lock:
            waits: list[Wait] = [*self._contexts.values(), *self._listed(), *self.queue_ends]
            for register in (self._contexts, self._shared, self._waits, self._time_waits):
                register.clear()
            for waiting in (self.queue_waits, self.queries, self.args_waits):
                waiting.clear()
            self._tokened.clear()
            self.queue_ends.clear()
            self.pending = self.watched = self.always = 0
        for wait in waits:
            wait.release()

    def _listed(self) -> list[Condition]:
        """Every registered wait once, without contexts and those for the drain's end."""
        waits = [wait for waits in self._waits.values() for wait in waits]
        times = [wait for timed in self._time_waits.values() for wait in timed]
        others = (*self.queue_waits, *self.queries, *self.args_waits)
        return list(dict.fromkeys((*waits, *times, *others)))

    # Leaving.

    def drop(self, wait: Condition) -> None:
        """Take a wait out of all registers; the caller holds the lock."""
        self._drop((wait,))

    def _drop(self, waits: Iterable[Condition]) -> None:
        for wait in waits:
            if not wait.listed:
                continue
            wait.listed = False
            self.pending -= 1
            if wait.key is not None and self._shared.get(wait.key) is wait:
                del self._shared[wait.key]
            if wait.token is not None:
                self._tokened.remove(wait)
                self.always -= 1
            self._unregister(wait)

    def _unregister(self, wait: Condition) -> None:
        if isinstance(wait, StatesWait):
            for state in wait.states:
                _discard(self._waits, state, wait)
        elif isinstance(wait, TimeWait):
            for state in wait.missing:
                _discard(self._time_waits, state, wait)
        elif isinstance(wait, ArgsWait):
            self.args_waits.remove(wait)
        else:
            self.always -= 1
            if isinstance(wait, QueueWait):
                self.queue_waits.remove(wait)
            else:
                assert isinstance(wait, QueryWait)
                self.queries.remove(wait)
        for state in wait.watched():
            self._unwatch(state)

    def _unwatch(self, state: int) -> None:
        """Take a state out of the mask when nobody depends on it any more."""
        if state in self._waits or state in self._time_waits or state in self._contexts:
            return
        if not any(wait.state == state for wait in self.args_waits):
            self.watched &= ~(1 << state)

    # Another order of states.

    def renumber(self, new: Mapping[int, int]) -> None:
        """Follow a change of the schema; `new` gives each old index its new one.

        The caller holds the lock.
        """
        waits = self._listed()
        contexts = {new[state]: context for state, context in self._contexts.items()}
        self._drop(waits)
        self._contexts = contexts
        for wait in waits:
            if isinstance(wait, StatesWait):
                wait.states = frozenset(new[state] for state in wait.states)
                wait.missing = {new[state] for state in wait.missing}
                wait.key = states_key(wait.states, wait.wanted, wait.token)
            elif isinstance(wait, TimeWait):
                wait.missing = {new[state]: tick for state, tick in wait.missing.items()}
                wait.key = None  # what it was asked for may be reached in part already
            elif isinstance(wait, ArgsWait):
                wait.state = new[wait.state]
            self.enlist(wait)
        for state in contexts:
            self.watched |= 1 << state


def states_key(states: frozenset[int], wanted: bool, token: Wait | None) -> Hashable:
    """What makes two waits for states equal."""
    return ("states", wanted, states, token)


def _expired(wait: Condition) -> bool:
    return wait.token is not None and wait.token.done()


def _holds(wait: QueryWait, clock: Mapping[str, int]) -> bool:
    try:
        return bool(wait.query(clock))
    except Exception:
        # The mutation that is asked about has happened; its caller cannot do anything about it.
        _log.exception("a query of when_query failed; it goes on waiting")
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
