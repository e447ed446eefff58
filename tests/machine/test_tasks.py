"""Async handlers: tasks that live as long as their state."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from amzmq.errors import BindError
from amzmq.machine import Event, Machine, State
from tests.machine.rig import PATIENCE, plain


class Work:
    """Counts what becomes of its task."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.go = asyncio.Event()

    async def AState(self, e: Event) -> None:
        self.log.append("started")
        try:
            await self.go.wait()
            self.log.append("done")
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_task_ends_on_its_own() -> None:
    work, machine = Work(), plain()
    machine.bind(work)
    machine.add("A")
    work.go.set()
    await turns()
    assert work.log == ["started", "done"]
    assert not machine.state_ctx("A")._callbacks


async def test_task_is_cancelled_when_its_state_goes() -> None:
    work, machine = Work(), plain()
    machine.bind(work)
    machine.add("A")
    await turns()
    machine.remove("A")
    await turns()
    assert work.log == ["started", "cancelled"]
    assert not machine.is_err()


async def test_multi_state_entered_again_replaces_its_task() -> None:
    work, machine = Work(), Machine({"A": State(multi=True)})
    machine.bind(work)
    machine.add("A")
    await turns()
    machine.add("A")
    await turns()
    work.go.set()
    await turns()
    assert work.log == ["started", "cancelled", "started", "done"]


async def test_state_gone_before_its_task_started_has_none() -> None:
    machine, calls = plain(), []

    async def state(event: Event) -> None:
        calls.append(event.name)

    machine.bind({"AState": state})
    thread = threading.Thread(target=lambda: (machine.add("A"), machine.remove("A")))
    thread.start()
    thread.join(PATIENCE)
    await turns()
    assert calls == []


async def test_exception_of_a_task_is_an_error_of_the_machine() -> None:
    machine = plain()

    async def state(event: Event) -> None:
        raise ValueError("in a task")

    machine.bind({"AState": state})
    assert machine.add("A") == 0
    async with asyncio.timeout(PATIENCE):
        await machine.when_err()
    assert str(machine.err()) == "in a task"
    assert machine.is_("A")


async def test_task_runs_on_the_loop_it_was_bound_on() -> None:
    machine, threads = plain(), []

    async def end(event: Event) -> None:
        threads.append(threading.get_ident())

    machine.bind({"AEnd": end, "AnyState": functools.partial(end)})
    thread = threading.Thread(target=lambda: (machine.add("A"), machine.remove("A")))
    thread.start()
    thread.join(PATIENCE)
    await turns()
    assert threads == [threading.get_ident()] * 3


async def test_each_binding_keeps_its_own_loop() -> None:
    machine, threads = plain(), []
    ready, stop = threading.Event(), threading.Event()

    async def state(event: Event) -> None:
        threads.append(threading.get_ident())

    async def other() -> None:
        machine.bind({"AState": state}, id="other")
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.001)

    thread = threading.Thread(target=lambda: asyncio.run(other()))
    thread.start()
    assert await asyncio.to_thread(ready.wait, PATIENCE)
    machine.bind({"AState": state}, id="here")
    machine.add("A")
    async with asyncio.timeout(PATIENCE):
        while len(threads) < 2:
            await asyncio.sleep(0.001)
    stop.set()
    await asyncio.to_thread(thread.join, PATIENCE)
    assert set(threads) == {thread.ident, threading.get_ident()}


async def test_dispose_cancels_and_awaits_the_tasks() -> None:
    work, machine = Work(), plain()
    machine.bind(work)
    machine.add("A")
    await turns()
    machine.dispose()
    assert not machine.is_disposed
    async with asyncio.timeout(PATIENCE):
        await machine.when_disposed()
    assert work.log == ["started", "cancelled"]


async def test_dispose_from_another_thread_awaits_the_tasks() -> None:
    work, machine = Work(), plain()
    machine.bind(work)
    machine.add("A")
    await turns()
    await asyncio.to_thread(machine.dispose)
    async with asyncio.timeout(PATIENCE):
        await machine.when_disposed()
    assert work.log == ["started", "cancelled"]


async def test_task_may_dispose_its_own_machine() -> None:
    machine = plain()

    async def state(event: Event) -> None:
        machine.dispose()

    machine.bind({"AState": state})
    machine.add("A")
    async with asyncio.timeout(PATIENCE):
        await machine.when_disposed()


async def test_forced_dispose_does_not_await_the_tasks() -> None:
    work, machine = Work(), plain()
    machine.bind(work)
    machine.add("A")
    await turns()
    machine.dispose_force()
    assert machine.is_disposed
    await turns()
    assert work.log == ["started", "cancelled"]


def test_closed_loop_does_not_hold_up_dispose() -> None:
    machine = plain()

    class Stubborn:
        async def AState(self, e: Event) -> None:
            await asyncio.sleep(PATIENCE)

    loop = asyncio.new_event_loop()

    async def main() -> asyncio.Task[None]:
        machine.bind(Stubborn())
        machine.add("A")
        await asyncio.sleep(0)
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        return task

    task = loop.run_until_complete(main())
    task.add_done_callback(lambda _: None)
    loop.close()
    machine.dispose()
    assert machine.is_disposed
    # Nobody is left to run it to an end; keep it from being reported as lost.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()  # type: ignore[union-attr]


async def test_async_negotiation_is_refused() -> None:
    async def handler(event: Event) -> None: ...

    with pytest.raises(BindError, match="negotiation"):
        plain().bind({"AEnter": handler})


def test_async_handler_without_a_loop_is_refused() -> None:
    class Callable:
        async def __call__(self, event: Event) -> None: ...

    with pytest.raises(BindError, match="coroutine"):
        plain().bind({"AState": Callable()})
