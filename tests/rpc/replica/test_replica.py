"""A replica is read and waited on like a machine."""

from __future__ import annotations

import asyncio

import pytest

from amzmq.machine import Result
from amzmq.rpc import Client
from tests.rpc.rig import World, soon, turns, until


def waiting(client: Client) -> int:
    """How many waits and contexts are registered with a replica."""
    return client.net_mach._subs.pending


async def test_when_and_when_not(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    both, gone = net.when("A", "B"), net.when_not("Multi")
    assert gone.done()
    mux.source.add("A")
    await until(lambda: net.is_("A"))
    assert not both.done()
    mux.source.add("B")
    await soon(both)
    gone = net.when_not("A", "B")
    mux.source.set("Multi")
    await soon(gone)
    assert net.active_states() == ["Multi"]


async def test_when_time_sees_ticks_that_were_merged(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    ticks, next_time = net.when_time({"A": 5, "Multi": 1}), net.when_next_active("A")
    for _ in range(5):
        mux.source.toggle("A")
    await soon(next_time)
    assert net.tick("A") == 5
    assert not ticks.done()
    mux.source.add("Multi")
    await soon(ticks)


async def test_when_ticks_and_when_query(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    ticks = net.when_ticks("Multi", 3)
    query = net.when_query(lambda clock: clock["Multi"] >= 5)
    mux.source.add("Multi")
    mux.source.add("Multi")
    await soon(ticks)
    assert not query.done()
    mux.source.add("Multi")
    await soon(query)


async def test_when_queue_takes_the_result_of_a_mutation_of_the_source(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    results: list[Result] = []
    mux.source.bind({"AState": lambda e: results.append(e.machine.add("B"))})
    mux.source.add("A")
    await soon(net.when_queue(results[0]))
    assert net.is_("B")
    assert net.when_queue(Result.EXECUTED).done()


async def test_when_err(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    failed = net.when_err()
    mux.source.add_err(ValueError("x"))
    await soon(failed)
    assert net.is_err()


async def test_a_state_context_ends_with_its_state(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    await net.add("A")
    ctx = net.state_ctx("A")
    entered: list[bool] = []

    async def work() -> None:
        async with ctx:
            entered.append(True)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await until(lambda: entered)
    assert not ctx.expired
    mux.source.remove("A")
    await soon(task)
    assert ctx.expired


async def test_a_cancelled_wait_leaves_nothing_behind(world: World) -> None:
    await world.serve()
    client = await world.follow()
    net = client.net_mach
    before = waiting(client)
    waits = [net.when("A"), net.when_not("A", "Auto"), net.when_time({"A": 9}), net.when_queue(99)]
    waits += [net.when_query(lambda clock: False)]

    async def hold(wait: object) -> None:
        await wait  # type: ignore[misc]

    tasks = [asyncio.create_task(hold(wait)) for wait in waits]
    await turns()
    assert waiting(client) == before + 4
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert waiting(client) == before


async def test_a_wait_that_times_out_leaves_nothing_behind(world: World) -> None:
    await world.serve()
    client = await world.follow()
    before = waiting(client)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client.net_mach.when("A")
    assert waiting(client) == before


async def test_a_thread_may_wait_on_a_replica(world: World) -> None:
    mux = await world.serve()
    net = (await world.follow()).net_mach
    blocked = asyncio.create_task(asyncio.to_thread(net.when("A").wait, 20))
    await turns()
    mux.source.add("A")
    assert await soon(blocked) is True


async def test_all_waits_end_with_the_client(world: World) -> None:
    await world.serve()
    client = await world.follow()
    net = client.net_mach
    waits = [net.when("A"), net.when_time({"A": 9}), net.when_queue(99), net.state_ctx("A")]
    await client.stop()
    for wait in waits:
        await soon(wait)
    assert net.is_disposed
    assert net.when_disposed().done()
    assert net.active_states() == []
    assert not net.is_("A")


async def test_what_the_relations_alone_can_answer(world: World) -> None:
    await world.serve()
    net = (await world.follow()).net_mach
    assert net.can_add("A") == Result.EXECUTED
    assert net.can_add("Never") == Result.CANCELED
    assert net.can_remove("A") == Result.EXECUTED
    await net.add("Absent")
    assert net.can_add("Never") == Result.CANCELED


async def test_a_replica_reads_like_its_source(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("reader")
    net, source = client.net_mach, mux.source
    await net.add("A", "Multi")
    assert str(net) == str(source) == "(A:1 Multi:1)"
    assert net.string_all() == source.string_all()
    assert net.inspect() == source.inspect()
    assert net.clock() == source.clock()
    assert net.schema == source.schema
    assert net.switch("B", "Multi") == "Multi"
    assert net.any_("B", ("A", "Multi"))
    assert net.index("Multi") == source.index("Multi")
    assert {**net.export(), "id": "src"} == source.export()
    assert not net.is_local
    assert net.queue_len == 0
