"""Pipes bound where an event loop runs: the target is mutated in a turn of its own."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from amzmq import pipes
from amzmq.machine import Event, Machine, Result

from .rig import PATIENCE, Told, machine, pair


async def soon(wait: object) -> None:
    async with asyncio.timeout(PATIENCE):
        await wait  # type: ignore[misc]


async def test_the_target_changes_in_a_later_turn_of_the_loop() -> None:
    source, target = pair()
    pipes.bind(source, target, "A")
    assert source.add("A") == Result.EXECUTED
    assert target.not_("A")
    await soon(target.when("A"))
    source.remove("A")
    assert target.is_("A")
    await soon(target.when_not("A"))


async def test_the_source_is_through_when_the_target_runs() -> None:
    source, target = pair()
    seen: list[tuple[object, list[str]]] = []
    target.bind({"AState": lambda e: seen.append((source.transition(), source.active_states()))})
    pipes.bind(source, target, "A")
    source.bind({"AState": lambda e: source.add("B")})
    source.add("A")
    await soon(target.when("A"))
    assert seen == [(None, ["B", "A"])]


async def test_changes_arrive_in_order_also_those_of_other_threads() -> None:
    source, target = pair()
    told = Told(target)
    pipes.bind(source, target, "M")
    pipes.bind(source, target, "A")
    source.add("M", n=0)
    await asyncio.to_thread(source.add, "A")
    source.add("M", n=1)
    await asyncio.to_thread(source.remove, "A")
    await asyncio.to_thread(source.add, "M", args={"n": 2})
    await soon(target.when_ticks("M", 5 - target.tick("M")))
    assert told.all == ["add M", "add A", "add M", "remove A", "add M"]


async def test_changes_of_many_threads_arrive_in_the_order_of_the_source() -> None:
    source, target = pair()
    told = Told(target)
    order: list[object] = []
    source.bind({"MState": lambda e: order.append(e.args["n"])})
    pipes.bind(source, target, "M")

    def work(thread: int) -> None:
        for n in range(50):
            source.add("M", n=(thread, n))

    await asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(4)))
    await soon(target.when_time({"M": 2 * 200 - 1}))
    assert [args["n"] for args in told.args] == order


async def test_the_target_is_mutated_on_the_thread_of_the_loop() -> None:
    source, target = pair()
    threads: list[threading.Thread] = []
    target.bind({"AState": lambda e: threads.append(threading.current_thread())})
    pipes.bind(source, target, "A")
    await asyncio.to_thread(source.add, "A")
    await soon(target.when("A"))
    assert threads == [threading.current_thread()]


async def test_two_multi_states_piped_both_ways_do_not_stop_the_loop() -> None:
    left, right = machine("left"), machine("right")
    there, back = pipes.bind(left, right, "M"), pipes.bind(right, left, "M")
    left.add("M")
    await soon(left.when_ticks("M", 10))
    there.unbind()
    back.unbind()
    for _ in range(5):
        await asyncio.sleep(0)
    ticks = left.tick("M")
    for _ in range(5):
        await asyncio.sleep(0)
    assert left.tick("M") == ticks


async def test_what_the_source_did_before_it_was_unbound_is_still_carried() -> None:
    source, target = pair()
    pipe = pipes.bind(source, target, "A")
    source.add("A")
    pipe.unbind()
    source.remove("A")
    await soon(target.when("A"))
    assert target.is_("A")


async def test_a_source_that_is_disposed_at_once_still_tells_of_its_end() -> None:
    source, target = pair()
    pipes.bind_start(source, target)
    source.add("Start")
    await soon(target.when("Start"))
    source.dispose()
    assert source.is_disposed
    assert pipes.pipes_of(target) == []
    await soon(target.when_not("Start"))


async def test_a_target_that_is_disposed_meanwhile_is_no_error() -> None:
    source, target = pair()
    pipes.bind(source, target, "A")
    source.add("A")
    target.dispose()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not source.is_err()
    assert source.handlers() == []


async def test_a_coroutine_handler_of_the_target_is_started() -> None:
    source, target = pair()
    ran = asyncio.Event()

    class Handlers:
        async def AState(self, e: Event) -> None:
            ran.set()

    target.bind(Handlers())
    pipes.bind(source, target, "A")
    source.add("A")
    await soon(ran.wait())


async def test_flat_handlers_wait_for_no_turn() -> None:
    source, target = pair()
    source.bind({"AState": pipes.add_flat(source, target, "A")})
    source.add("A")
    assert target.is_("A")


def test_a_pipe_outlives_the_loop_that_it_was_bound_on() -> None:
    source, target = pair()

    async def bind() -> None:
        pipes.bind(source, target, "A")
        source.add("A")  # and the loop is closed before its next turn

    asyncio.run(bind())
    source.remove("A")
    source.add("A")
    assert target.is_("A")
    assert target.tick("A") == 3


def test_a_pipe_bound_without_a_loop_needs_none_later() -> None:
    source, target = pair()
    pipes.bind(source, target, "A")

    async def use() -> bool:
        source.add("A")
        return target.is_("A")

    assert asyncio.run(use())


@pytest.mark.parametrize("unbind", [True, False])
async def test_an_outbox_goes_with_its_last_pipe(unbind: bool) -> None:
    from amzmq.pipes.outbox import _outboxes

    source, target = pair()
    pipe = pipes.bind(source, target, "A")
    assert len(_outboxes[source]) == 1
    if unbind:
        pipe.unbind()
    else:
        target.dispose()
    gc.collect()
    assert len(_outboxes[source]) == 0


async def test_pipes_of_one_loop_share_one_order_across_targets() -> None:
    source = machine("src")
    targets = [machine(str(n)) for n in range(3)]
    order: list[str] = []

    def note(target: Machine) -> None:
        target.bind({"MState": lambda e: order.append(f"{target.id}{e.args['n']}")})
        pipes.bind(source, target, "M")

    for target in targets:
        note(target)
    for n in range(3):
        source.add("M", n=n)
    await soon(targets[2].when_time({"M": 5}))
    assert order == ["00", "10", "20", "01", "11", "21", "02", "12", "22"]
