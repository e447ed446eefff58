"""Random schemas, mutations, handlers and threads against what must always hold.

Handlers veto, raise, and mutate; each has a budget, as an auto state whose handler always raises
would go on for ever (spec machine 4.9).
"""

from __future__ import annotations

from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from amzmq.machine import (
    ClockObserver,
    Event,
    LogLevel,
    Machine,
    Mutation,
    MutationType,
    State,
    Tracer,
    Transition,
)
from tests.machine.rig import event_names
from tests.machine.test_properties import MOVE, MOVES, NAMES, PROFILE, SCHEMA, Move, make
from tests.machine.test_threads import on_threads

BUDGET = 12
THREADED = settings(PROFILE, max_examples=50)

# What a handler does: answer, raise, or mutate.
DEED = st.one_of(
    st.just("veto"),
    st.just("raise"),
    MOVE.filter(lambda move: not move[0].startswith("can")),
)
BEHAVIOUR = st.dictionaries(
    st.sampled_from(event_names([*NAMES[:4], "Exception"])), DEED, max_size=8
)


class Watchman(Tracer):
    """Holds every transition against the rules."""

    id = "watchman"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.appended: list[int] = []
        self.ended = 0
        self.ran: list[int] = []
        self.time = machine.time()
        self.failures: list[str] = []
        self.has_add = any(state.add for state in machine.schema.values())

    def expect(self, holds: bool, text: str) -> None:
        if not holds:
            self.failures.append(text)

    def mutation_queued(self, machine: Any, mutation: Mutation) -> None:
        # Several threads may queue at once, and list.append is one step.
        self.appended.append(mutation.queue_tick)

    def transition_start(self, tx: Transition) -> None:
        tick = tx.mutation.queue_tick
        if tick:
            self.ran.append(tick)
            self.expect(self.machine.queue_tick == tick, "runs at another tick than its own")

    def transition_end(self, tx: Transition) -> None:
        machine = self.machine
        self.ended += 1
        now, before = machine.time(), self.time
        self.time = now
        self.expect(now.after(before, or_equal=True), "a tick went down")
        self.expect(tx.time_before == before, "time between two transitions")
        active = machine.active_states()
        odd = {name for name, tick in machine.clock().items() if tick & 1}
        self.expect(set(active) == odd and len(active) == len(odd), "active is not odd")
        if tx.is_check:
            self.expect(now == before, "a check changed the clock")
        elif tx.is_accepted:
            self.accepted(tx, active)

    def accepted(self, tx: Transition, active: list[str]) -> None:
        schema, inside = self.machine.schema, set(active)
        self.expect(active == tx.target, "not the target was committed")
        for name in active:
            required = inside.issuperset(schema[name].require)
            self.expect(required, f"{name} without what it requires")
            # What comes in by two levels of add pushes nothing out (a quirk, 4.3).
            alone = self.has_add or inside.isdisjoint(schema[name].remove)
            self.expect(alone, f"{name} beside what it removes")
        if tx.mutation.type is MutationType.REMOVE:
            if not schema_pulls(schema):
                self.expect(inside.isdisjoint(tx.called), "removed and still there")
        elif not tx.is_auto:
            self.expect(inside.issuperset(tx.called), "added and not there")

    def ends(self) -> None:
        """Nothing runs any more."""
        machine = self.machine
        ticks = [tick for tick in self.appended if tick]
        assert self.failures == []
        assert machine.queue_len == machine._queue.pending == 0
        assert machine.transition() is None
        assert self.ended == len(self.appended)
        assert machine.queue_tick == 1 + len(ticks)
        assert self.ran == sorted(ticks) == list(range(2, len(ticks) + 2))


def schema_pulls(schema: dict[str, State]) -> bool:
    """Whether a removed state may be pulled in again by another one's add."""
    return any(state.add for state in schema.values())


def behave(machine: Machine, behaviour: dict[str, Any]) -> None:
    budget = [BUDGET]

    def handler(deed: Any) -> Any:
        def call(event: Event) -> object:
            budget[0] -= 1
            if budget[0] < 0:
                return True
            note(deed if isinstance(deed, str) else "nested")
            if deed == "veto":
                return False
            if deed == "raise":
                raise ValueError(event.name)
            make(machine, deed)
            return True

        return call

    known = set(event_names(machine.state_names))
    machine.bind({name: handler(deed) for name, deed in behaviour.items() if name in known})


@PROFILE
@given(SCHEMA, MOVES, BEHAVIOUR, st.sampled_from([LogLevel.NOTHING, LogLevel.EVERYTHING]))
def test_rules_hold_whatever_handlers_do(
    schema: dict[str, State], moves: list[Move], behaviour: dict[str, Any], level: LogLevel
) -> None:
    machine = Machine(schema)
    machine.set_log(level, sink=lambda *_: None)
    machine.log_steps(level > 0, checks=True)
    watchman = Watchman(machine)
    machine.bind_tracer(watchman)
    behave(machine, behaviour)
    for move in moves:
        make(machine, move)
    watchman.ends()


@PROFILE
@given(SCHEMA, MOVES, BEHAVIOUR)
def test_log_and_steps_change_nothing(
    schema: dict[str, State], moves: list[Move], behaviour: dict[str, Any]
) -> None:
    silent, loud = Machine(schema), Machine(schema)
    loud.set_log(LogLevel.EVERYTHING, sink=lambda *_: None)
    loud.log_steps(checks=True)
    behave(silent, behaviour)
    behave(loud, behaviour)
    for move in moves:
        assert make(silent, move) == make(loud, move)
        assert silent.active_states() == loud.active_states()
        assert (silent.time(), silent.queue_tick) == (loud.time(), loud.queue_tick)


@THREADED
@given(SCHEMA, st.lists(MOVES, min_size=2, max_size=4), BEHAVIOUR, st.booleans())
def test_rules_hold_with_several_threads(
    schema: dict[str, State],
    moves: list[list[Move]],
    behaviour: dict[str, Any],
    handler_threads: bool,
) -> None:
    machine = Machine(schema, handler_threads=handler_threads, handler_timeout=30.0)
    watchman = Watchman(machine)
    machine.bind_tracer(watchman)
    behave(machine, behaviour)

    def work(number: int) -> None:
        for move in moves[number]:
            make(machine, move)

    on_threads(work, len(moves))
    watchman.ends()
    machine.dispose()


@THREADED
@given(SCHEMA, st.lists(MOVES, min_size=2, max_size=4))
def test_clock_is_whole_whenever_it_is_read_from_another_thread(
    schema: dict[str, State], moves: list[list[Move]]
) -> None:
    machine = Machine(schema)
    observer = ClockObserver(lambda: None)
    followed = dict(machine.observe_clock(observer).ticks)
    seen: list[dict[str, Any]] = []

    def work(number: int) -> None:
        for move in moves[number]:
            make(machine, move)
            seen.append(machine.export())

    on_threads(work, len(moves))
    for exported in seen:
        # Every reading is one of a state that satisfied the relations.
        active = {
            n for n, t in zip(exported["state_names"], exported["time"], strict=True) if t & 1
        }
        for name in active:
            assert active.issuperset(machine.schema[name].require)
    assert machine.queue_len == 0
    followed.update(machine.read_changes(observer)[0])
    assert tuple(followed.values()) == machine.time()
    assert max(exported["queue_tick"] for exported in seen) <= machine.queue_tick
