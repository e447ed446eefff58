"""Several threads on one machine: nothing lost, nothing twice, one drain at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from amzmq.machine import Event, Machine, Result, State, Tracer, Transition
from tests.machine.rig import PATIENCE, plain

THREADS = 8
EACH = 100


def on_threads(work: Callable[[int], None], count: int = THREADS) -> None:
    """Run `work(number)` on several threads at once; raises what any of them raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            barrier.wait(PATIENCE)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def multi(**options: object) -> Machine:
    schema = {f"T{number}": State(multi=True) for number in range(THREADS + 1)}
    return Machine(schema, queue_limit=100_000, **options)  # type: ignore[arg-type]


class Watch(Tracer):
    """Finds two transitions at once."""

    id = "watch"

    def __init__(self) -> None:
        self.running = 0
        self.ended = 0
        self.overlapped = False

    def transition_init(self, tx: Transition) -> None:
        self.running += 1
        self.overlapped |= self.running != 1

    def transition_end(self, tx: Transition) -> None:
        self.running -= 1
        self.ended += 1


@pytest.mark.parametrize("kind", ["plain", "handlers", "tracer", "log"])
def test_no_mutation_is_lost_and_none_runs_twice(kind: str) -> None:
    machine, watch = multi(handler_timeout=PATIENCE), Watch()
    calls: list[str] = []
    if kind == "handlers":
        machine.bind({f"T{n}State": lambda e: calls.append(e.name) for n in range(THREADS)})
    elif kind == "tracer":
        machine.bind_tracer(watch)
    elif kind == "log":
        machine.on_change(lambda *_: None)

    def work(number: int) -> None:
        for _ in range(EACH):
            assert machine.add(f"T{number}", x=1) != Result.CANCELED

    on_threads(work)
    ticks = [machine.tick(f"T{number}") for number in range(THREADS)]
    assert ticks == [2 * EACH - 1] * THREADS
    assert machine.queue_tick == THREADS * EACH + 1
    assert machine.queue_len == 0
    assert len(calls) in (0, THREADS * EACH)
    assert not watch.overlapped
    assert watch.ended in (0, THREADS * EACH)


async def test_threads_and_the_loop_together() -> None:
    machine = multi(handler_timeout=PATIENCE)
    running = 0
    overlaps: list[str] = []

    def state(event: Event) -> None:
        nonlocal running
        running += 1
        if running != 1:
            overlaps.append(event.name)
        running -= 1

    machine.bind({f"T{number}State": state for number in range(THREADS + 1)})

    def work(number: int) -> None:
        for _ in range(EACH):
            machine.add(f"T{number}")

    threads = asyncio.gather(asyncio.to_thread(on_threads, work))
    for _ in range(EACH):
        result = await machine.add(f"T{THREADS}")
        async with asyncio.timeout(PATIENCE):
            await machine.when_queue(result)
    await threads
    async with asyncio.timeout(PATIENCE):
        await machine.when_queue_ends()
    assert {machine.tick(name) for name in machine.state_names[:-1]} == {2 * EACH - 1}
    assert overlaps == []


def test_result_is_of_the_callers_own_mutation() -> None:
    machine = plain()
    machine.bind({"AEnter": lambda e: False})
    machine.bind_tracer(Watch())

    def work(number: int) -> None:
        name, expected = ("A", Result.CANCELED) if number % 2 else ("B", Result.EXECUTED)
        for _ in range(EACH):
            result = machine.add(name, number=number)
            assert result == expected or result.is_queued

    on_threads(work)


def test_waits_of_many_threads_are_all_released() -> None:
    machine = plain()

    def work(number: int) -> None:
        if number == 0:
            for _ in range(EACH):
                machine.add("A")
                machine.remove("A")
            machine.add("A")
            return
        for _ in range(EACH):
            machine.when_not("A").wait(0)
            machine.when("A", "B").wait(0)
        assert machine.when("A").wait(PATIENCE)

    on_threads(work)
    machine.dispose()
    subs = machine._subs
    assert (subs.pending, subs.watched, subs.always) == (0, 0, 0)


def test_gives_up_and_comes_back_while_others_release() -> None:
    machine = plain()
    wait = machine.when("A")

    def work(number: int) -> None:
        if number == 0:
            machine.add("A")
            return
        for _ in range(EACH):
            wait.wait(0)
        assert wait.wait(PATIENCE)

    on_threads(work)


def test_machines_of_one_schema_share_plans_between_threads() -> None:
    machines = [plain() for _ in range(THREADS)]
    machines[0]._compiled.plans.limit = 8

    def work(number: int) -> None:
        machine = machines[number]
        for turn in range(EACH):
            machine.set(*"ABCD"[turn % 4 :])
            assert set(machine.active_states()) == set("ABCD"[turn % 4 :])

    try:
        on_threads(work)
    finally:
        machines[0]._compiled.plans.limit = 4096


def test_binding_and_reading_while_others_mutate() -> None:
    machine = plain()

    def work(number: int) -> None:
        for turn in range(EACH):
            if number == 0:
                machine.detach(machine.bind({"AState": lambda e: None}))
            elif number == 1:
                clock = machine.clock()
                assert clock["A"] & 1 == clock["B"] & 1
            elif turn % 2:
                machine.add("A", "B")
            else:
                machine.remove("A", "B")

    on_threads(work)


def test_dispose_while_others_mutate_ends_everything() -> None:
    machine = multi()

    def work(number: int) -> None:
        for turn in range(EACH):
            machine.add(f"T{number}")
            if number == 0 and turn == EACH // 2:
                machine.dispose()

    on_threads(work)
    assert machine.when_disposed().wait(PATIENCE)
    assert machine.add("T0") == Result.CANCELED
