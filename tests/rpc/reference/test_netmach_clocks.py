"""The reference's netmach tests: ticks and times, compared whole, and waits."""

from __future__ import annotations

import asyncio

from amzmq.machine import Machine, State, Tracer, Transition

from .sources import NAMES, Link, Links, clock_of, no_rels, soon

MULTI_B = {"B": State(multi=True)}

# A mutation, and the ticks of A B C D after it.
TABLE = [
    ("add", "AB", (1, 1, 0, 0)),
    ("add", "AB", (1, 3, 0, 0)),
    ("add", "ABC", (1, 5, 1, 0)),
    ("set", "D", (2, 6, 2, 1)),
    ("add", "DC", (2, 6, 3, 1)),
    ("remove", "BC", (2, 6, 4, 1)),
    ("add", "AB", (3, 7, 4, 1)),
]


async def linked(link: Links, **states: State) -> Link:
    return await link(no_rels(**states))


async def test_time(link: Links) -> None:
    it = await linked(link, **MULTI_B)
    before = it.net.time()
    for change, states, ticks in TABLE:
        await getattr(it.net, change)(*states)
        assert it.net.time() == (0, *ticks, 0)
        assert clock_of(it.net) == clock_of(it.source)
        after = it.net.time()
        assert after.after(before, or_equal=True)
        assert not before.after(after, or_equal=True)
        before = after
    assert it.net.time("D", "B") == (1, 7)
    assert it.net.time().sum() == 15


async def test_clock(link: Links) -> None:
    net = (await linked(link, **MULTI_B)).net
    for change, states, ticks in TABLE:
        await getattr(net, change)(*states)
        assert net.clock() == dict(zip(NAMES, (0, *ticks, 0), strict=True))
    assert net.clock("B", "D") == {"B": 7, "D": 1}
    assert [net.tick(name) for name in "ABCD"] == [3, 7, 4, 1]


async def test_is_clock(link: Links) -> None:
    net = (await linked(link)).net
    await net.add("A", "B")
    clock = net.clock()
    assert net.is_clock(clock)
    await net.remove("A")
    assert not net.is_clock(clock)
    assert net.is_clock({"A": 2, "B": 1})
    assert net.was_clock(clock)


async def test_is_time(link: Links) -> None:
    net = (await linked(link)).net
    await net.add("A", "B")
    time = net.time()
    assert net.is_time(time)
    await net.remove("A")
    assert not net.is_time(time)
    assert net.is_time([2, 1], "A", "B")
    assert net.was_time(time)


async def test_when_of_two_waiters(link: Links) -> None:
    it = await linked(link)
    tasks = [asyncio.ensure_future(soon(it.net.when("A", "B"))) for _ in range(2)]
    await it.net.add("A")
    assert not any(task.done() for task in tasks)
    await it.net.add("B")
    await soon(asyncio.gather(*tasks))


async def test_when_active_already(link: Links) -> None:
    net = (await linked(link)).net
    await net.add("A")
    assert net.when("A").done()
    assert not net.when("A", "B").done()


async def test_when_not_of_two_waiters(link: Links) -> None:
    it = await linked(link)
    await it.net.add("A", "B")
    tasks = [asyncio.ensure_future(soon(it.net.when_not("A", "B"))) for _ in range(2)]
    await it.net.remove("A")
    assert not any(task.done() for task in tasks)
    await it.net.remove("B")
    await soon(asyncio.gather(*tasks))


async def test_when_not_active_already(link: Links) -> None:
    net = (await linked(link)).net
    await net.add("A")
    assert net.when_not("B").done()
    assert not net.when_not("A").done()


async def test_when_time(link: Links) -> None:
    it = await linked(link, A=State(multi=True), **MULTI_B)
    await it.net.add("A", "B")
    wait = it.net.when_time({"A": 5, "B": 2})
    await it.net.add("A", "B")
    assert it.net.time("A", "B") == (3, 3)
    assert not wait.done()
    await it.net.add("A")
    assert it.net.time("A", "B") == (5, 3)
    assert wait.done()


class _AddsTheRest(Tracer):
    id = "adds-the-rest"

    def transition_end(self, tx: Transition) -> None:
        if list(tx.called) == ["A"]:
            for name in "BCD":
                tx.machine.add(name)


async def test_when_queue(link: Links) -> None:
    it = await linked(link)
    it.source.bind_tracer(_AddsTheRest())
    wait = it.net.when_queue(5)
    assert not wait.done()
    it.source.add("A")
    await soon(wait)
    assert it.net.active_states() == ["A", "B", "C", "D"]
    assert clock_of(it.net) == clock_of(it.source)


async def test_when_query_fires_only_when_it_holds(link: Links) -> None:
    it = await linked(link, A=State(multi=True), **MULTI_B)
    await it.net.add("B")
    wait = it.net.when_query(lambda clock: clock["A"] > 4 * clock["B"])
    for tick in (1, 3):
        await it.net.add("A")
        assert it.net.tick("A") == tick
        assert not wait.done()
    await it.net.add("A")
    assert it.net.tick("A") == 5
    assert wait.done()


async def test_when_args(link: Links) -> None:
    it = await linked(link, **MULTI_B)
    wait = it.net.when_args("B", user=42)
    await it.net.add("B", user=1)
    await it.net.add("A", user=42)
    assert not wait.done()
    it.source.add("B", user=42, more=True)
    await soon(wait)


async def test_a_context_ends_the_waits_made_with_it(link: Links) -> None:
    it = await linked(link)
    await it.net.add("D")
    ctx = it.net.state_ctx("D")
    waits = [
        it.net.when_time({"A": 9, "B": 9}, ctx=ctx),
        it.net.when_ticks("A", 9, ctx=ctx),
        it.net.when("C", ctx=ctx),
        it.net.when_query(lambda clock: False, ctx=ctx),
    ]
    assert [wait.done() for wait in waits] == [False] * len(waits)
    it.source.remove("D")
    for wait in waits:
        await soon(wait)
    assert it.net._subs.pending == 0


async def test_a_context_ends_a_wait_for_arguments(link: Links) -> None:
    it = await linked(link)
    await it.net.add("D")
    wait = it.net.when_args("A", ctx=it.net.state_ctx("D"), user=1)
    await soon(it.client.sync())
    assert not wait.done()
    it.source.remove("D")
    await soon(wait)


async def test_state_contexts(link: Links) -> None:
    it = await linked(link)
    local = Machine(it.source.schema)
    for machine in (local, it.net):
        await machine.add("A")
        active, inactive = machine.state_ctx("A"), machine.state_ctx("B")
        assert (active.expired, inactive.expired) == (False, False)
        await machine.remove("A")
        assert (active.expired, inactive.expired) == (True, False)
        await machine.add("B")
        assert inactive.expired


async def test_export(link: Links) -> None:
    it = await linked(link, **MULTI_B)
    await it.net.add("A", "B")
    await it.net.add("B")
    exported = it.net.export()
    assert exported == {**it.source.export(), "id": it.net.id}
    restored = Machine(it.source.schema, id=it.net.id)
    restored.import_(exported)
    assert restored.time() == it.net.time() == (0, 1, 3, 0, 0, 0)
    assert restored.machine_tick == 1
