"""What holds for every schema and every sequence of mutations."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amzmq.machine import ClockObserver, Machine, MutationType, Result, State, Tracer, Wait
from amzmq.machine.compiled import CompiledSchema
from amzmq.machine.plans import PlanCache
from amzmq.machine.resolver import resolve

settings.register_profile(
    "machine",
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow],
)
PROFILE = settings.get_profile("machine")

NAMES = tuple("ABCDEFG")
SOME = st.lists(st.sampled_from(NAMES), max_size=2, unique=True)


def consistent(state: State) -> State:
    """Without the one contradiction that makes a machine start with an error."""
    return state.replace(remove=[name for name in state.remove if name not in state.require])


STATE = st.builds(
    State,
    auto=st.sampled_from([False, False, False, True]),
    multi=st.sampled_from([False, False, True]),
    require=st.lists(st.sampled_from(NAMES), max_size=1),
    add=SOME,
    remove=SOME,
    after=SOME,
).map(consistent)
SCHEMA = st.lists(STATE, min_size=3, max_size=len(NAMES)).map(
    lambda states: dict(zip(NAMES, states, strict=False))
)
Move = tuple[str, list[str]]
MOVE = st.tuples(
    st.sampled_from(["add", "add", "remove", "set", "toggle", "can_add", "can_remove"]),
    st.lists(st.sampled_from(NAMES), max_size=3),
)
MOVES = st.lists(MOVE, min_size=1, max_size=12)


def make(machine: Machine, move: Move) -> Result:
    kind, names = move
    result: Result = getattr(machine, kind)(*machine.parse_states(*names))
    return result


def picture(machine: Machine) -> tuple[object, ...]:
    return (machine.string_all(), machine.active_states(), machine.queue_tick)


class Quiet(Tracer):
    """Does nothing, but closes the fast road."""

    id = "quiet"


class Invariants(Tracer):
    """Checks a machine after each of its transitions."""

    id = "invariants"

    def __init__(self) -> None:
        self.checked = 0
        self.failures: list[str] = []

    def transition_end(self, tx: object) -> None:
        self.checked += 1
        machine, accepted = tx.machine, tx.is_accepted  # type: ignore[attr-defined]
        before, after = tx.time_before, tx.time_after  # type: ignore[attr-defined]
        if not all(b <= a for b, a in zip(before, after, strict=True)):
            self.failures.append("a tick went down")
        if not accepted and before != after:
            self.failures.append("a canceled transition changed the clock")
        if tx.is_check and machine.time() != before:  # type: ignore[attr-defined]
            self.failures.append("a check changed the clock")
        active = set(machine.active_states())
        odd = {n for n, t in machine.clock().items() if t & 1}
        if active != odd:
            self.failures.append(f"active {active}, odd {odd}")
        for name in active:
            if not active.issuperset(machine.schema[name].require):
                self.failures.append(f"{name} is active without what it requires")


@PROFILE
@given(SCHEMA, MOVES)
def test_invariants_hold_after_every_transition(
    schema: dict[str, State], moves: list[Move]
) -> None:
    machine, invariants = Machine(schema), Invariants()
    machine.bind_tracer(invariants)
    for move in moves:
        before = machine.queue_tick
        result = make(machine, move)
        assert result in (Result.EXECUTED, Result.CANCELED)
        assert machine.queue_tick == before + (not move[0].startswith("can"))
    assert invariants.failures == []


@PROFILE
@given(SCHEMA, MOVES)
def test_all_roads_lead_to_the_same_place(schema: dict[str, State], moves: list[Move]) -> None:
    step, traced, handled, waited = (Machine(schema) for _ in range(4))
    traced.bind_tracer(Quiet())
    handled.bind({"AnyEnter": lambda e: True})
    kept = waited.when_query(lambda clock: False)
    for move in moves:
        results = {make(machine, move) for machine in (step, traced, handled, waited)}
        assert len(results) == 1
        assert picture(step) == picture(traced) == picture(handled) == picture(waited)
    assert not kept.done()


@PROFILE
@given(SCHEMA, MOVES)
def test_plans_are_what_the_resolver_says(schema: dict[str, State], moves: list[Move]) -> None:
    compiled = CompiledSchema(schema)
    remembered, forgetful = PlanCache(compiled), PlanCache(compiled, limit=1)
    order: tuple[int, ...] = ()
    for kind, names in moves:
        type_ = MutationType.REMOVE if kind in ("remove", "toggle") else MutationType.ADD
        type_ = MutationType.SET if kind == "set" else type_
        called = tuple(dict.fromkeys(compiled.index[n] for n in names if n in compiled.index))
        fresh = resolve(compiled, order, type_, called)
        for cache in (remembered, forgetful, remembered):
            plan = cache.plan(cache.node(order), type_, called)
            outcome = plan.outcome
            assert (outcome.target, outcome.enters, outcome.exits) == fresh[:3]
            assert plan.accepted is not bool(fresh.rejected)
        if not fresh.rejected:
            order = fresh.target
    assert len(forgetful) <= 1


@PROFILE
@given(SCHEMA, MOVES, st.data())
def test_waits_are_released_the_same_on_the_fast_road(
    schema: dict[str, State], moves: list[Move], data: st.DataObject
) -> None:
    """The mask of watched states never hides a mutation from a wait that it concerns."""
    fast, slow = Machine(schema), Machine(schema)
    slow.bind_tracer(Quiet())
    names = st.lists(st.sampled_from(fast.state_names), min_size=1, max_size=2, unique=True)

    def waits(machine: Machine, chosen: Sequence[str], tick: int) -> list[Wait]:
        return [
            machine.when(*chosen),
            machine.when_not(*chosen),
            machine.when_time({name: tick for name in chosen}),
            machine.when_next_active(chosen[0]),
            machine.state_ctx(chosen[0]),
            machine.when_args(chosen[0]),
        ]

    made: list[tuple[Wait, Wait]] = []
    for move in moves:
        chosen, tick = data.draw(names), data.draw(st.integers(1, 5))
        made += zip(waits(fast, chosen, tick), waits(slow, chosen, tick), strict=True)
        make(fast, move)
        make(slow, move)
        assert [one.done() for one, _ in made] == [other.done() for _, other in made]
    fast.dispose()
    subs = fast._subs
    assert (subs.pending, subs.watched, subs.always) == (0, 0, 0)


@PROFILE
@given(SCHEMA, MOVES)
def test_watch_mask_is_exactly_of_what_waits(schema: dict[str, State], moves: list[Move]) -> None:
    machine = Machine(schema)
    made: list[Wait] = []
    for kind, names in moves:
        known = machine.parse_states(*names) or ["A"]
        made += [machine.when(*known), machine.when_not(*known), machine.state_ctx(known[0])]
        made.append(machine.when_time({name: 3 for name in known}))
        make(machine, (kind, names))
        subs = machine._subs
        states = {*subs._waits, *subs._time_waits, *subs._contexts}
        assert subs.watched == sum(1 << state for state in states)
        assert subs.pending == len({id(wait) for wait in made if not wait.done()})


@PROFILE
@given(SCHEMA, MOVES)
def test_observers_see_every_change(schema: dict[str, State], moves: list[Move]) -> None:
    machine = Machine(schema)
    observer = ClockObserver(lambda: None)
    followed = dict(machine.observe_clock(observer).ticks)
    for move in moves:
        make(machine, move)
        ticks, queue_tick, _, _ = machine.read_changes(observer)
        followed.update(ticks)
        assert tuple(followed.values()) == machine.time()
        assert queue_tick == machine.queue_tick


@PROFILE
@given(SCHEMA, MOVES)
def test_export_and_import_carry_the_clock(schema: dict[str, State], moves: list[Move]) -> None:
    machine, other = Machine(schema, id="m"), Machine(schema, id="m")
    for move in moves:
        make(machine, move)
    other.import_(machine.export())
    assert other.string_all() == machine.string_all()


@PROFILE
@given(
    SCHEMA, MOVES, st.sets(st.sampled_from([f"{n}{e}" for n in "ABC" for e in ("Enter", "Exit")]))
)
def test_vetoed_transition_leaves_no_trace(
    schema: dict[str, State], moves: list[Move], vetoes: set[str]
) -> None:
    machine, invariants = Machine(schema), Invariants()
    machine.bind_tracer(invariants)
    machine.bind({name: lambda e: False for name in vetoes})
    for move in moves:
        make(machine, move)
    assert invariants.failures == []
    assert machine.queue_len == 0
