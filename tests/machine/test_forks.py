"""Functions that run beside a machine, owned by it (spec machine 5.8)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from amzmq.errors import InvalidArgs
from amzmq.machine import Event, Machine, Wait
from tests.machine.rig import PATIENCE, fail, plain


def boom() -> None:
    fail("boom")(None)  # type: ignore[arg-type]


async def async_boom() -> None:
    boom()


def disposed(machine: Machine) -> bool:
    machine.dispose()
    return machine.when_disposed().wait(timeout=PATIENCE)


# Threads.


def test_sync_function_runs_on_a_thread_of_its_own() -> None:
    machine, names, done = plain(id="m"), [], threading.Event()

    def work() -> None:
        names.append(threading.current_thread().name)
        machine.add("B")
        done.set()

    def state(event: Event) -> None:
        assert machine.fork(event, work)
        time.sleep(0.01)
        # The fork's mutation waits for this handler.
        assert not machine.is_("B")

    machine.bind({"AState": state})
    machine.add("A")
    assert machine.when("B").wait(timeout=PATIENCE)
    assert done.wait(PATIENCE)
    assert names == ["m.AState.fork"]
    assert disposed(machine)


def test_fork_needs_a_valid_event() -> None:
    machine, events = plain(), []
    machine.bind({"AState": events.append})
    machine.add("A")
    assert not machine.fork(events[0], boom)
    assert not machine.pool_fork(events[0], boom)
    assert disposed(machine)
    assert machine.err() is None


@pytest.mark.parametrize("road", ["go", "fork", "go_after"])
def test_what_a_fork_raises_is_an_error_of_the_machine(road: str) -> None:
    machine = plain()
    sources: list[object] = []

    def state(event: Event) -> None:
        if road == "fork":
            machine.fork(event, boom)
        elif road == "go":
            machine.go(boom)
        else:
            machine.go_after(0.001, boom)

    machine.bind({"AState": state})
    machine.bind({"ExceptionState": lambda e: sources.append(e.mutation.source)})
    machine.add("A")
    assert machine.when_err().wait(timeout=PATIENCE)
    assert str(machine.err()) == "boom"
    assert disposed(machine)
    assert (sources[0] is not None) is (road == "fork")


def test_nothing_runs_once_its_context_is_done() -> None:
    machine, ran = plain(), []
    over = Wait()
    over.release()
    assert not machine.go(lambda: ran.append(1), ctx=over)
    assert not machine.go_after(0.0, lambda: ran.append(2), ctx=over)
    ctx = machine.state_ctx("A")
    assert machine.go_after(PATIENCE, lambda: ran.append(3), ctx=ctx)
    machine.add("A")
    began = time.monotonic()
    assert disposed(machine)
    assert time.monotonic() - began < PATIENCE / 2
    assert ran == []


def test_delayed_function_runs_after_its_delay() -> None:
    machine, at = plain(), []
    began = time.monotonic()
    done = threading.Event()
    ctx = machine.state_ctx("A")
    assert machine.go_after(
        0.03, lambda: (at.append(time.monotonic() - began), done.set()), ctx=ctx
    )
    assert done.wait(PATIENCE)
    assert at[0] >= 0.03
    assert disposed(machine)


def test_dispose_waits_for_running_threads_and_drops_delayed_ones() -> None:
    machine, ran = plain(), []
    started, finish = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        finish.wait(PATIENCE)
        ran.append("work")

    machine.go(work)
    machine.go_after(PATIENCE, lambda: ran.append("never"))
    assert started.wait(PATIENCE)
    machine.dispose()
    assert not machine.when_disposed().wait(timeout=0.02)
    assert not machine.go(boom)
    finish.set()
    assert machine.when_disposed().wait(timeout=PATIENCE)
    assert ran == ["work"]


def test_forced_dispose_waits_for_no_thread() -> None:
    machine, finish = plain(), threading.Event()
    machine.go(lambda: finish.wait(PATIENCE))
    machine.dispose_force()
    assert machine.is_disposed
    assert machine.when_disposed().done()
    finish.set()


def test_fork_may_dispose_its_own_machine() -> None:
    machine = plain()
    machine.go(machine.dispose)
    assert machine.when_disposed().wait(timeout=PATIENCE)


def test_disposed_machine_forks_nothing() -> None:
    machine = plain()
    machine.dispose()
    assert not machine.go(boom)
    with_forks = plain()
    with_forks.pool_set_limit_global(1)
    forks = with_forks._own_forks()
    forks.cancel_all(lambda: None)
    # Between the closing of the doors and the last look at the machine.
    assert not forks.launch(boom, "late")
    assert disposed(with_forks)


# Tasks.


async def test_async_function_runs_as_a_task_of_the_running_loop() -> None:
    machine, names = plain(id="m"), []

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())
        machine.add("B")

    machine.bind({"AState": lambda e: machine.fork(e, work) and None})
    machine.add("A")
    await machine.when("B")
    assert names == ["m.AState.fork"]
    machine.go(async_boom)
    await machine.when_err()
    assert str(machine.err()) == "boom"
    machine.dispose()
    await machine.when_disposed()


async def test_task_is_cancelled_by_its_context_and_by_dispose() -> None:
    machine, ends = plain(), []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            ends.append(name)
            raise

    async def one() -> None:
        await work("context")

    async def two() -> None:
        await work("dispose")

    assert machine.go(one, ctx=machine.state_ctx("A"))
    assert machine.go(two)
    assert machine.go_after(PATIENCE, two)
    await asyncio.sleep(0)
    machine.add("A")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ends == ["context"]
    machine.dispose()
    await machine.when_disposed()
    assert ends == ["context", "dispose"]


async def test_delayed_task_runs_after_its_delay() -> None:
    machine = plain()
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def work() -> None:
        machine.add("A", after=loop.time() - began)

    machine.bind({"AEnter": lambda e: float(str(e.args["after"])) >= 0.02})
    machine.go_after(0.02, work)
    await machine.when("A")
    machine.dispose()
    await machine.when_disposed()


def test_async_function_needs_a_loop() -> None:
    machine = plain()
    with pytest.raises(InvalidArgs, match="no event loop"):
        machine.go(async_boom)
    machine.bind({"AState": lambda e: machine.pool_fork(e, async_boom) and None})
    machine.pool_set_limit_global(1)
    machine.add("A")
    assert isinstance(machine.err(), InvalidArgs)
    # The place in the pool was given back.
    assert machine._own_forks().take_place("AState")
    assert disposed(machine)


# Pools.


def pool(machine: Machine, *rounds: str) -> tuple[list[bool], threading.Event]:
    """Fork a waiting function in the State handler of each round."""
    started: list[bool] = []
    finish = threading.Event()

    def state(event: Event) -> None:
        started.append(machine.pool_fork(event, lambda: finish.wait(PATIENCE)))

    machine.bind({f"{name}State": state for name in set(rounds)})
    for name in rounds:
        machine.remove(name)
        machine.add(name)
    return started, finish


def test_pool_without_limits_runs_everything() -> None:
    machine = plain()
    started, finish = pool(machine, "A", "A", "B")
    finish.set()
    assert started == [True, True, True]
    assert disposed(machine)


def test_pool_of_a_handler_has_its_own_limit() -> None:
    machine = plain()
    machine.pool_set_limit("AState", 2)
    machine.pool_set_limit("CState", 0)
    started, finish = pool(machine, "A", "A", "A", "B", "C")
    assert started == [True, True, False, True, False]
    machine.pool_set_limit("AState", None)
    machine.pool_set_limit("Never", None)
    machine.remove("A")
    machine.add("A")
    assert started[-1]
    finish.set()
    assert disposed(machine)


def test_pools_share_a_limit_and_places_come_back() -> None:
    machine = plain()
    machine.pool_set_limit_global(2)
    started, finish = pool(machine, "A", "B", "C")
    assert started == [True, True, False]
    finish.set()
    deadline = time.monotonic() + PATIENCE
    while machine._own_forks()._pooled.total() and time.monotonic() < deadline:
        time.sleep(0.001)
    machine.remove("C")
    machine.add("C")
    assert started[-1]
    assert disposed(machine)


async def test_places_of_tasks_come_back_too() -> None:
    machine, started = plain(), []
    machine.pool_set_limit_global(1)

    async def work() -> None:
        await asyncio.sleep(0)

    machine.bind({"AState": lambda e: started.append(machine.pool_fork(e, work))})
    machine.bind({"BState": lambda e: started.append(machine.pool_fork(e, work))})
    machine.add("A")
    machine.add("B")
    await asyncio.sleep(0.01)
    machine.remove("B")
    machine.add("B")
    assert started == [True, False, True]
    machine.dispose()
    await machine.when_disposed()


async def test_task_that_never_starts_gives_its_place_back() -> None:
    machine, ended = plain(), []
    ctx = Wait()
    loop = asyncio.get_running_loop()
    tasks = machine._own_tasks()

    def spawn() -> None:
        tasks.spawn(loop, async_boom, "late", None, ctx, lambda: ended.append(True))

    thread = threading.Thread(target=spawn)
    thread.start()
    thread.join()
    # The loop has not looked yet, and now it is too late.
    ctx.release()
    await asyncio.sleep(0.01)
    assert ended == [True]
    assert machine.err() is None
    machine.dispose()
    await machine.when_disposed()
