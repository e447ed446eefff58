"""The reference's rpc tests: what a client asked to see, and what it then sees."""

from __future__ import annotations

from amzmq.machine import Machine, Result, State, Tracer
from amzmq.rpc.replica.event import ReplicaTransition

from .sources import NAMES, Links, clock_of, no_rels, rels, soon


async def test_partial(link: Links) -> None:
    it = await link(no_rels(), allowed_states=["A", "B", "C"], skipped_states=["C"])
    for states in ("A", "B", "C", "D"):
        await it.net.add(states) if states in "AB" else it.source.add(states)
    await soon(it.client.sync())
    assert it.source.time() == (0, 1, 1, 1, 1, 0)
    assert it.net.active_states() == ["A", "B"]
    assert it.net.time("A", "B") == (1, 1)
    it.source.remove("A")
    await soon(it.net.when_not("A"))
    assert it.net.tick("A") == 2


async def test_partial_stays_level_while_only_other_states_change(link: Links) -> None:
    it = await link(no_rels(D=State(multi=True)), allowed_states=["A"])
    for _ in range(10):
        it.source.add("D")
    await soon(it.net.when_queue(it.source.queue_tick))
    assert it.net.time() == (0, 0, 0, 0, 0, 0)
    it.source.add("A")
    await soon(it.net.when("A"))
    assert it.net.queue_tick == it.source.queue_tick == 12
    metrics = it.client.metrics()
    assert (metrics["mismatches"], metrics["gaps"], metrics["resyncs"]) == (0, 0, 0)


async def test_partial_inferred(link: Links) -> None:
    it = await link(rels(), allowed_states=["A"])
    it.source.add("C")
    await soon(it.net.when("A"))
    assert it.source.is_("A", "C")
    # C is not looked at, but A requires it; its tick says no more than that.
    assert it.net.is_("A", "C")
    assert it.net.time() == (0, 1, 0, 1, 0, 0)
    it.source.remove("C")
    await soon(it.net.when_not("A"))
    assert it.net.time() == (0, 2, 0, 0, 0, 0)
    it.source.add("D")
    await soon(it.net.when("A"))
    assert it.net.time() == (0, 3, 0, 1, 0, 0)
    assert it.source.time() == (0, 3, 1, 3, 1, 0)


async def test_partial_without_a_schema(link: Links) -> None:
    it = await link(rels(), no_schema=True, allowed_states=["C"])
    await it.net.add("C")
    assert it.source.is_("A", "C")
    assert it.net.tracked_states == ("C",)
    # Exception is a state of every machine; here it is not followed.
    assert it.net.state_names == ("C", "Exception")
    assert it.net.active_states() == ["C"]
    assert it.net.time() == (1, 0)
    it.source.add_err(ValueError("x"))
    await soon(it.client.sync())
    assert it.net.time() == (1, 0)
    assert it.net.queue_tick == it.source.queue_tick


async def test_partial_without_a_schema_changes_the_states_it_names(link: Links) -> None:
    it = await link(no_rels(), no_schema=True, allowed_states=["C", "B"])
    assert it.net.tracked_states == ("B", "C")
    await it.net.add("B", "C")
    assert await it.net.remove("B") == Result.EXECUTED
    assert it.source.time() == (0, 0, 2, 1, 0, 0)
    assert it.net.time() == (2, 1, 0)


async def test_mutation_filtering(link: Links) -> None:
    source = no_rels(A=State(require="C"))
    it = await link(source, mutation_filtering=True)
    it.wire.clear()
    assert await it.net.add("A") == Result.CANCELED
    assert it.wire.requests() == []
    assert source.queue_tick == 1
    assert await it.net.add("C", "A") == Result.EXECUTED
    assert len(it.wire.requests()) == 1
    assert source.queue_tick == 2
    assert clock_of(it.net) == clock_of(source)


async def test_shallow_clocks(link: Links) -> None:
    it = await link(rels(), sync_shallow_clocks=True)
    for _ in range(3):
        await it.net.add("C")
        assert it.net.time() == (0, 1, 0, 1, 0, 0)
        await it.net.remove("C")
        assert it.net.time() == (0, 0, 0, 0, 0, 0)
    it.source.add("B")
    await soon(it.net.when("B"))
    assert it.net.time() == (0, 1, 1, 1, 0, 0)
    assert it.source.time() == (0, 7, 1, 7, 0, 0)
    assert it.client.metrics()["mismatches"] == 0


async def test_no_schema(link: Links) -> None:
    it = await link(rels(), no_schema=True)
    await it.net.add("C")
    assert it.net.state_names == NAMES
    assert it.net.active_states() == ["A", "C"]
    assert clock_of(it.net) == clock_of(it.source)
    it.source.add("B")
    await it.level()


class _Updates(Tracer):
    id = "updates"

    def __init__(self) -> None:
        self.all: list[ReplicaTransition] = []

    def transition_end(self, tx: ReplicaTransition) -> None:  # type: ignore[override]
        self.all.append(tx)


async def test_mutations_are_told_one_by_one(link: Links) -> None:
    it = await link(rels(), sync_mutations=True)
    tracer = _Updates()
    it.net.bind_tracer(tracer)
    it.wire.clear()
    await it.net.add("B")
    await it.net.add("D")
    assert clock_of(it.net) == clock_of(it.source)
    assert it.net.time() == (0, 1, 1, 1, 1, 0)
    # B with C, then A of itself, then D.
    assert [list(tx.activated) for tx in tracer.all] == [["B", "C"], ["A"], ["D"]]
    assert it.wire.bytes_of_calls() < 2 * 100


async def test_a_replica_is_exported_as_its_source(link: Links) -> None:
    source = rels()
    source.add("C")
    source.import_(source.export())
    it = await link(source)
    await it.net.add("B")
    exported = it.net.export()
    assert exported == {**source.export(), "id": it.net.id}
    assert exported["machine_tick"] == 1
    restored = Machine(source.schema, id=it.net.id)
    restored.import_(exported)
    assert restored.time() == source.time()


async def test_a_schema_that_grows_is_followed(link: Links) -> None:
    it = await link(rels())
    await it.net.add("C")
    it.source.set_schema({**it.source.schema, "E": State(require="A")})
    await soon(it.client.sync())
    assert it.net.state_names == (*NAMES, "E")
    assert await soon(it.net.add("E")) == Result.EXECUTED
    assert it.net.is_("A", "C", "E")
    assert clock_of(it.net) == clock_of(it.source)
    assert it.net.export() == {**it.source.export(), "id": it.net.id}
