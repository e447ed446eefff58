"""Views, alone and combined: at rest a replica is what its view shows of the source."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from amzmq.errors import InvalidArgs, SchemaError, SchemaMismatch
from amzmq.machine import EXCEPTION, Machine, Result, Schema, State, Tracer
from amzmq.net import RandomFaults
from amzmq.rpc import Client, Mux, NetworkMachine
from amzmq.rpc.replica.event import ReplicaTransition
from amzmq.wire.journal import JournalLimits
from tests.rpc.rig import QUICK, World, soon, until


@dataclass(frozen=True)
class Looks:
    """A view, as a client asks for it."""

    no_schema: bool = False
    allowed_states: tuple[str, ...] | None = None
    skipped_states: tuple[str, ...] = ()
    sync_shallow_clocks: bool = False
    sync_mutations: bool = False

    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def expected(self, source: Machine) -> dict[str, int]:
        """Name to tick, in the order of the replica: said again, in the simplest way."""
        allowed = source.state_names if self.allowed_states is None else self.allowed_states
        tracked = [n for n in source.state_names if n in allowed and n not in self.skipped_states]
        shallow = self.sync_shallow_clocks and not self.sync_mutations
        ticks = {n: source.tick(n) % 2 if shallow else source.tick(n) for n in tracked}
        if self.no_schema:
            return ticks | {EXCEPTION: ticks.get(EXCEPTION, 0)}
        inferred = {n for n in ticks if ticks[n] % 2}
        while more := {r for n in inferred for r in source.schema[n].require} - inferred:
            inferred |= more
        return {n: ticks.get(n, int(n in inferred)) for n in source.state_names}


def shows(net: NetworkMachine, source: Machine, looks: Looks) -> bool:
    """Whether all that can be read of the replica is what the view has of the source."""
    expected = looks.expected(source)
    return (
        net.clock() == expected
        and net.state_names == tuple(expected)
        and set(net.active_states()) == {name for name, tick in expected.items() if tick % 2}
        and all(net.is_(name) is bool(tick % 2) for name, tick in expected.items())
        and (net.queue_tick, net.machine_tick) == (source.queue_tick, source.machine_tick)
    )


@dataclass(frozen=True)
class Step:
    """One mutation, or an import of the source's own export."""

    by_client: bool
    kind: str
    states: tuple[int, ...]
    pause: int


@dataclass(frozen=True)
class Story:
    schema: Schema = field(repr=False)
    looks: Looks
    steps: Sequence[Step]
    seed: int
    drop: float
    journal: int

    def __repr__(self) -> str:
        return f"Story({self.schema}, {self.looks}, {self.steps}, {self.seed}, {self.drop})"


NAMES = ("S0", "S1", "S2", "S3", "S4", "S5")


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, State]:
    names = NAMES[: draw(st.integers(2, len(NAMES)))]
    some = st.lists(st.sampled_from(names), max_size=2, unique=True)
    return {
        name: State(
            auto=draw(st.booleans()) and draw(st.booleans()),
            multi=draw(st.booleans()),
            require=[other for other in draw(some) if other != name],
            add=[other for other in draw(some) if other != name],
            remove=draw(some),
        )
        for name in names
    }


@st.composite
def looks_at(draw: st.DrawFn, names: Sequence[str]) -> Looks:
    some = st.lists(st.sampled_from(names), unique=True).map(tuple)
    return Looks(
        draw(st.booleans()),
        draw(st.none() | some),
        draw(some) if draw(st.booleans()) else (),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    schema = draw(schemas())
    step = st.builds(
        Step,
        st.booleans(),
        st.sampled_from(["add", "remove", "set", "toggle", "add", "remove", "import"]),
        st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True).map(tuple),
        st.integers(0, 2),
    )
    return Story(
        schema,
        draw(looks_at([*schema, EXCEPTION])),
        draw(st.lists(step, min_size=1, max_size=25)),
        draw(st.integers(0, 1000)),
        draw(st.sampled_from([0.0, 0.3, 0.6])),
        draw(st.sampled_from([2, 1000])),
    )


class Told(Tracer):
    """Kind and called states of each mutation; and of those alone that somebody made."""

    id = "told"

    def __init__(self) -> None:
        self.all: list[tuple[str, tuple[str, ...]]] = []
        self.called: list[tuple[str, tuple[str, ...]]] = []

    def transition_end(self, tx: Any) -> None:
        if tx.is_auto and tx.time_before == tx.time_after:
            return  # states that are added by themselves were tried, in vain: nothing to tell
        self.all.append((str(tx.type), tuple(tx.called)))
        if not tx.is_auto:
            self.called.append(self.all[-1])


async def _play(world: World, story: Story) -> None:
    try:
        source = Machine(story.schema, id="src")
    except SchemaError:
        return  # relations that contradict each other: not a machine
    await world.serve(source, heartbeat=0.1, journal=JournalLimits(messages=story.journal))
    client = await world.follow(**story.looks.options())
    net = client.net_mach
    assert shows(net, source, story.looks)
    world.network.feed_fault = RandomFaults(story.seed, story.drop, 0.2, 0.4, 0.004)
    calls: list[Any] = []
    asked: Counter[frozenset[str]] = Counter()
    told = Told()
    source.bind_tracer(told)
    for step in story.steps:
        on = net if step.by_client else source
        states = dict.fromkeys(on.state_names[at % len(on.state_names)] for at in step.states)
        if step.kind != "import":
            asked[frozenset(states)] += 1
            made = getattr(on, step.kind)(*states)
            calls += [made] if step.by_client else []
        elif not step.by_client:
            source.import_(source.export())
        for _ in range(step.pause):
            await asyncio.sleep(0)
    for call in calls:
        assert await soon(call) in (Result.EXECUTED, Result.CANCELED)
    # Whatever the view, indexes mean the states that were named.
    assert Counter(frozenset(called) for _, called in told.called) == asked
    world.network.feed_fault = None  # what was lost so far, at the very end too, stays lost
    await until(lambda: shows(net, source, story.looks))
    assert client.metrics()["mismatches"] == 0
    assert client.metrics()["garbage"] == 0
    # What is at rest stays as it is.
    await soon(client.sync())
    assert shows(net, source, story.looks)


# A failing story waits until its patience ends: to make it shorter would take minutes.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(max_examples=80, deadline=None, phases=UNSHRUNK, suppress_health_check=list(HealthCheck))
@given(stories())
def test_a_replica_at_rest_is_what_its_view_shows_of_the_source(story: Story) -> None:
    async def play() -> None:
        async with AsyncExitStack() as stack:
            await _play(World(stack), story)

    asyncio.run(play())


SCHEMA: Schema = {
    "A": State(auto=True, require=["C"]),
    "B": State(multi=True, add=["C"]),
    "C": State(require=["D"]),
    "D": State(),
    "E": State(remove=["D"]),
}

VIEWS = {
    "everything": Looks(),
    "no schema": Looks(no_schema=True),
    "allowed": Looks(allowed_states=("E", "A")),
    "none allowed": Looks(allowed_states=()),
    "skipped": Looks(skipped_states=("D", EXCEPTION)),
    "allowed and skipped": Looks(allowed_states=("A", "B", "C"), skipped_states=("B",)),
    "shallow": Looks(sync_shallow_clocks=True),
    "mutations": Looks(sync_mutations=True),
    "shallow mutations": Looks(sync_shallow_clocks=True, sync_mutations=True),
    "partial without schema": Looks(no_schema=True, allowed_states=("C", "B")),
    "shallow partial": Looks(allowed_states=("A",), sync_shallow_clocks=True),
    "mutations of some": Looks(
        no_schema=True, skipped_states=("A", EXCEPTION), sync_mutations=True
    ),
}


@pytest.mark.parametrize("name", VIEWS)
async def test_each_view_is_level_after_each_mutation(world: World, name: str) -> None:
    source, looks = Machine(SCHEMA, id="src"), VIEWS[name]
    source.add("D")
    await world.serve(source, heartbeat=1000.0)
    client = await world.follow(**looks.options())
    net = client.net_mach
    for states in ("B", "C", "D", "E", "B", "D", "B", "Exception"):
        source.toggle(states)
        await until(lambda: shows(net, source, looks))
        if net.has("C") and net.has("B"):
            await soon(net.add("B"))
            assert shows(net, source, looks)
    assert client.metrics()["snapshots"] == 1
    assert client.metrics()["mismatches"] == 0


async def test_all_views_of_one_source_at_once_and_each_has_a_stream(world: World) -> None:
    source = Machine(SCHEMA, id="src")
    mux = await world.serve(source, heartbeat=0.05)
    clients = {name: await world.follow(**look.options()) for name, look in VIEWS.items()}
    # Shallow clocks are not for those who want each mutation.
    assert mux.published["streams"] == len(VIEWS) - 1
    world.network.feed_fault = RandomFaults(3, drop=0.3, delay=0.3, max_delay=0.005)
    for n in range(60):
        source.toggle("ABCDE"[n * 7 % 5])
        await asyncio.sleep(0)
    for name, client in clients.items():
        await until(lambda c=client, n=name: shows(c.net_mach, source, VIEWS[n]))
    world.network.feed_fault = None
    for client in clients.values():
        await client.stop()
    await until(lambda: not mux.clients)


async def test_each_mutation_is_told_with_its_kind_and_what_it_called(world: World) -> None:
    source = Machine(SCHEMA, id="src")
    await world.serve(source)
    net = (await world.follow(sync_mutations=True, skipped_states=["E"])).net_mach
    at_source, at_replica = Told(), Told()
    source.bind_tracer(at_source)
    net.bind_tracer(at_replica)
    source.add("D", "B")
    source.set("E", "B")
    source.add("C")  # is canceled: D is not active
    source.remove("B")
    await until(lambda: shows(net, source, Looks(sync_mutations=True, skipped_states=("E",))))
    seen = [(kind, tuple(n for n in called if n != "E")) for kind, called in at_source.all]
    assert ("add", ("C",)) in seen
    assert at_replica.all == seen


async def test_merged_updates_are_told_as_one(world: World) -> None:
    source = Machine(SCHEMA, id="src")
    await world.serve(source)
    net = (await world.follow()).net_mach
    changes: list[ReplicaTransition] = []
    net.bind({"AnyState": lambda e: changes.append(e.transition)})
    source.add("D", "B")
    source.remove("B")
    await until(lambda: net.tick("B") == 2)
    (change,) = changes
    assert change.type == "set"
    assert set(change.activated) == {"A", "C", "D"}


async def test_a_view_of_states_that_do_not_exist_is_refused_by_name(world: World) -> None:
    await world.serve()
    client = world.client(allowed_states=["A", "Wrong"])
    client.start()
    with pytest.raises(SchemaMismatch, match="the view names Wrong, which"):
        await soon(client.ready())


async def test_filtering_needs_all_relations() -> None:
    for partial in ({"no_schema": True}, {"allowed_states": ["A"]}, {"skipped_states": ["A"]}):
        with pytest.raises(InvalidArgs, match="mutation_filtering needs the relations"):
            Client("mem://source", mutation_filtering=True, **partial)


async def test_what_the_relations_leave_no_chance_is_not_sent(world: World) -> None:
    source = Machine(SCHEMA, id="src")
    mux = await world.serve(source)
    client = await world.follow(mutation_filtering=True)
    net = client.net_mach
    assert await soon(net.add("C")) == Result.CANCELED
    assert net.add_ns("C") == Result.CANCELED
    assert mux.counters.requests == 0
    assert client.metrics()["calls_filtered"] == net.filtered == 2
    assert await soon(net.add("D", "C")) == Result.EXECUTED
    assert await soon(net.remove("D")) == Result.EXECUTED
    assert net.active_states() == source.active_states()


async def test_views_hold_over_real_sockets() -> None:
    source = Machine(SCHEMA, id="src")
    source.add("D")
    bare, seen = Looks(no_schema=True, allowed_states=("C", "B")), Looks(allowed_states=("A",))
    async with (
        Mux(source) as mux,
        Client(mux.addr, **(QUICK | bare.options())) as one,
        Client(mux.addr, **(QUICK | seen.options())) as other,
    ):
        assert await soon(one.net_mach.add("B")) == Result.EXECUTED
        assert shows(one.net_mach, source, bare)
        source.add("B")
        await until(lambda: shows(one.net_mach, source, bare))
        await until(lambda: shows(other.net_mach, source, seen))
        assert other.net_mach.is_("A", "C", "D")
