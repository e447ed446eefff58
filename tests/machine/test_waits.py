"""Waits: awaited, blocking, by callback; given up, shared, released (spec machine 6)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from amzmq.errors import BlockingWait, InvalidArgs, StateUnknown
from amzmq.machine import Machine, State, StateCtx, Wait
from tests.machine.rig import PATIENCE, fail, plain


def nothing_is_left(machine: Machine) -> bool:
    subs = machine._subs
    registers = (
        subs._contexts,
        subs._waits,
        subs._time_waits,
        subs._shared,
        subs.args_waits,
        subs.queue_waits,
        subs.queries,
        subs._tokened,
        subs.queue_ends,
    )
    counts = (subs.pending, subs.watched, subs.always)
    return not any(registers) and counts == (0, 0, 0)


WAITS: dict[str, Callable[[Machine], Wait]] = {
    "when": lambda m: m.when("A", "B"),
    "when_not": lambda m: m.when_not("C"),
    "when_time": lambda m: m.when_time({"A": 3, "B": 5}),
    "when_ticks": lambda m: m.when_ticks("A", 2),
    "when_next_active": lambda m: m.when_next_active("C"),
    "when_query": lambda m: m.when_query(lambda clock: False),
    "when_queue": lambda m: m.when_queue(99),
    "when_args": lambda m: m.when_args("A", x=1),
    "when_err": lambda m: m.when_err(),
}


@pytest.fixture(params=WAITS)
def make(request: pytest.FixtureRequest) -> Callable[[Machine], Wait]:
    return WAITS[request.param]


@pytest.fixture
def machine() -> Machine:
    made = plain()
    made.add("C")
    return made


def test_timed_out_wait_leaves_nothing_behind(
    machine: Machine, make: Callable[[Machine], Wait]
) -> None:
    wait = make(machine)
    assert wait.wait(0) is False
    assert wait.cancelled()
    assert nothing_is_left(machine)


async def test_cancelled_wait_leaves_nothing_behind(
    machine: Machine, make: Callable[[Machine], Wait]
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await make(machine)
    assert nothing_is_left(machine)


def test_wait_that_was_given_up_can_be_waited_for_again(
    machine: Machine, make: Callable[[Machine], Wait]
) -> None:
    wait = make(machine)
    assert not wait.wait(0)
    assert not wait.wait(0)
    wait.add_done_callback(lambda: None)
    assert not wait.cancelled()
    assert machine._subs.pending == 1
    machine.dispose()
    assert wait.done()


def test_condition_met_while_nobody_waited_is_seen_on_return(machine: Machine) -> None:
    waits = [machine.when("A"), machine.when_time({"A": 1}), machine.when_queue(3)]
    assert not any(wait.wait(0) for wait in waits)
    machine.add("A")
    assert not any(wait.done() for wait in waits)
    assert all(wait.wait(PATIENCE) for wait in waits)


def test_dispose_releases_every_wait(machine: Machine, make: Callable[[Machine], Wait]) -> None:
    wait = make(machine)
    machine.dispose()
    assert wait.done()
    assert make(machine).done()
    assert nothing_is_left(machine)


def test_token_releases_the_wait_at_the_next_look(
    machine: Machine, make: Callable[[Machine], Wait]
) -> None:
    ctx = machine.state_ctx("D")
    waits = {name: other(machine) for name, other in _with_ctx(ctx).items()}
    machine.add("D")
    machine.add("D")
    machine.add("B")
    assert all(wait.done() for wait in waits.values()), waits
    assert all(other(machine).done() for other in _with_ctx(ctx).values())
    assert nothing_is_left(machine)


def _with_ctx(ctx: Wait) -> dict[str, Callable[[Machine], Wait]]:
    return {
        "when": lambda m: m.when("A", ctx=ctx),
        "when_not": lambda m: m.when_not("C", ctx=ctx),
        "when_err": lambda m: m.when_err(ctx=ctx),
        "when_time": lambda m: m.when_time({"A": 3}, ctx=ctx),
        "when_ticks": lambda m: m.when_ticks("A", 5, ctx=ctx),
        "when_next_active": lambda m: m.when_next_active("C", ctx=ctx),
        "when_query": lambda m: m.when_query(lambda clock: False, ctx=ctx),
        "when_queue": lambda m: m.when_queue(99, ctx=ctx),
        "when_args": lambda m: m.when_args("A", ctx=ctx, x=1),
    }


def test_any_wait_can_be_a_token(machine: Machine) -> None:
    token = machine.when("D")
    wait = machine.when("A", ctx=token)
    assert machine.when("A") is not wait
    assert machine.when("A", ctx=token) is wait
    machine.add("D")
    machine.remove("D")
    assert wait.done()


def test_wait_on_the_loops_thread_is_refused(machine: Machine) -> None:
    async def main() -> None:
        machine.when("A").wait(0)

    with pytest.raises(BlockingWait, match="await"):
        asyncio.run(main())


async def test_await_is_woken_from_another_thread(machine: Machine) -> None:
    thread = threading.Thread(target=machine.add, args=("A",))
    wait = machine.when("A")
    thread.start()
    async with asyncio.timeout(PATIENCE):
        await wait
        await wait
    thread.join(PATIENCE)


async def test_await_is_woken_from_the_same_thread(machine: Machine) -> None:
    async def waiter() -> str:
        await machine.when("A")
        return str(machine)

    task = asyncio.create_task(waiter())
    await asyncio.sleep(0)
    machine.add("A")
    async with asyncio.timeout(PATIENCE):
        assert await task == "(A:1 C:1)"


def test_callbacks_are_called_once_and_at_once_when_done(machine: Machine) -> None:
    calls: list[str] = []
    wait = machine.when("A")
    wait.add_done_callback(lambda: calls.append("before"))
    machine.add("A")
    wait.add_done_callback(lambda: calls.append("after"))
    wait.release()
    assert calls == ["before", "after"]


def test_failing_callback_does_not_hurt_the_others(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []
    wait = machine.when("A")
    wait.add_done_callback(lambda: fail()(None))  # type: ignore[arg-type]
    wait.add_done_callback(lambda: calls.append("called"))
    with caplog.at_level(logging.ERROR, "amzmq.machine"):
        machine.add("A")
    assert calls == ["called"]
    assert "boom" in caplog.text


def test_removed_callback_is_not_called(machine: Machine) -> None:
    calls: list[str] = []

    def callback() -> None:
        calls.append("called")

    wait = machine.when("A")
    wait.remove_done_callback(callback)
    wait.add_done_callback(callback)
    wait.add_done_callback(lambda: None)
    wait.remove_done_callback(callback)
    assert not wait.cancelled()
    machine.add("A")
    assert calls == []


def test_one_who_gives_up_does_not_take_the_wait_from_another(machine: Machine) -> None:
    calls: list[str] = []
    wait = machine.when("A")
    wait.add_done_callback(lambda: calls.append("called"))
    assert not machine.when("A").wait(0)
    machine.add("A")
    assert calls == ["called"]


def test_representation_tells_the_state(machine: Machine) -> None:
    wait = machine.when("A")
    assert repr(wait) == "<StatesWait pending>"
    wait.wait(0)
    assert repr(wait) == "<StatesWait cancelled>"
    assert repr(machine.when("C")) == "<Wait done>"


def test_bad_arguments_are_refused(machine: Machine) -> None:
    with pytest.raises(StateUnknown):
        machine.when("Unknown")
    with pytest.raises(StateUnknown):
        machine.state_ctx("Unknown")
    with pytest.raises(InvalidArgs, match="function"):
        machine.when_query("A")  # type: ignore[arg-type]
    for times in ({}, None, ["A"]):
        with pytest.raises(InvalidArgs, match="mapping"):
            machine.when_time(times)  # type: ignore[arg-type]


# When what is released (6.1).


def test_when_wants_all_at_once(machine: Machine) -> None:
    wait = machine.when("A", "B")
    machine.add("A")
    machine.remove("A")
    machine.add("B")
    assert not wait.done()
    machine.add("A")
    assert wait.done()


def test_activation_releases_though_the_same_transition_takes_another_away(
    machine: Machine,
) -> None:
    # A quirk of the reference, held by its vectors: activations are looked at first.
    wait = machine.when("A", "B")
    machine.add("A")
    machine.set("B")
    assert wait.done()


def test_when_time_remembers_each_state(machine: Machine) -> None:
    wait = machine.when_time({"A": 1, "B": 1})
    machine.add("A")
    machine.set("B")
    assert wait.done()


def test_when_next_active_does_not_count_the_present() -> None:
    machine = Machine({"A": State(multi=True)})
    wait = machine.when_next_active("A")
    machine.add("A")
    assert wait.done()
    again = machine.when_next_active("A")
    assert not again.done()
    machine.add("A")
    assert again.done()
    assert machine.when_ticks("A", 0).done()


def test_query_is_asked_after_accepted_transitions_only(machine: Machine) -> None:
    asked: list[int] = []

    def query(clock: object) -> bool:
        asked.append(1)
        return len(asked) > 1

    wait = machine.when_query(query)
    machine.bind({"BEnter": lambda e: False})
    machine.add("B")
    assert asked == []
    machine.add("A")
    machine.add("A")
    assert wait.done()
    assert len(asked) == 2


def test_failing_query_is_logged_and_goes_on(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    wait = machine.when_query(lambda clock: bool(1 / (clock["A"] - 1)))
    machine.add("A")
    assert "when_query failed" in caplog.text
    assert not wait.done()
    machine.remove("A")
    assert wait.done()


def test_queue_wait_of_a_canceled_mutation_waits_for_an_accepted_one(machine: Machine) -> None:
    machine.bind({"AEnter": lambda e: False})
    wait = machine.when_queue(machine.queue_tick + 1)
    machine.add("A")
    assert not wait.done()
    machine.add("B")
    assert wait.done()
    assert machine.when_queue(1).done()


def test_canceled_transition_releases_nothing(machine: Machine) -> None:
    machine.bind({"BState": fail()})
    wait = machine.when("A")
    machine.add("A", "B")
    # A quirk of the reference (6.1): A stays active, yet the wait was not looked at.
    assert machine.is_("A")
    assert not wait.done()
    machine.remove("A")
    machine.add("A")
    assert wait.done()


@pytest.mark.parametrize(
    ("handler", "done_in_it"),
    [("BEnter", False), ("BState", False), ("AnyState", False), ("CExit", False)],
)
def test_wait_made_in_a_handler_of_any_phase_is_released_by_its_transition(
    handler: str, done_in_it: bool
) -> None:
    machine = plain()
    machine.add("C")
    made: list[Wait] = []
    machine.bind({handler: lambda e: made.append(machine.when("B"))})
    machine.set("B")
    assert made[0].done()


def test_args_wait_of_a_subset_shares_the_stricter_one(machine: Machine) -> None:
    strict = machine.when_args("A", x=1, y=2)
    assert machine.when_args("A", x=1) is strict
    assert machine.when_args("B", x=1) is not strict


def test_args_wait_needs_no_handler_and_hears_of_a_raised_one(machine: Machine) -> None:
    quiet, loud, later = (machine.when_args(name, x=1) for name in "ABD")
    machine.bind({"BState": fail()})
    machine.add("A", "B", "D", x=1)
    assert [quiet.done(), loud.done(), later.done()] == [True, True, False]


def test_args_wait_is_not_released_by_a_handler_that_took_too_long() -> None:
    machine = plain(handler_timeout=0.0)
    machine.bind({"AState": lambda e: sum(range(1000))})
    wait = machine.when_args("A")
    machine.add("A")
    assert not wait.done()


def test_args_waits_are_released_in_the_order_of_the_handlers(machine: Machine) -> None:
    calls: list[str] = []
    for name in "ABD":
        machine.when_args(name, x=1).add_done_callback(lambda name=name: calls.append(name))
    names = ("BState", "AnyState", "CEnd")
    machine.bind({name: lambda e: calls.append(e.name) for name in names})
    machine.set("A", "B", "D", x=1)
    assert calls == ["CEnd", "A", "BState", "B", "D", "AnyState"]


# State contexts (6.2).


def test_context_is_shared_until_it_expires(machine: Machine) -> None:
    ctx = machine.state_ctx("C")
    assert machine.state_ctx("C") is ctx
    assert (ctx.machine_id, ctx.state, ctx.tick) == (machine.id, "C", 1)
    machine.remove("C")
    assert ctx.expired
    assert machine.state_ctx("C") is not ctx
    assert machine.state_ctx("C").tick == 2


def test_context_expires_at_commit_before_the_final_handlers(machine: Machine) -> None:
    seen: list[bool] = []
    ctx = machine.state_ctx("C")
    machine.bind({"CExit": lambda e: seen.append(ctx.expired)})
    machine.bind({"CEnd": lambda e: seen.append(ctx.expired)})
    machine.remove("C")
    assert seen == [False, True]


def test_context_made_in_enter_dies_with_the_commit_and_in_state_it_lives() -> None:
    machine = plain()
    made: list[StateCtx] = []
    machine.bind({n: lambda e: made.append(machine.state_ctx("A")) for n in ("AEnter", "AState")})
    machine.add("A")
    assert [ctx.expired for ctx in made] == [True, False]


def test_canceled_transition_expires_no_context(machine: Machine) -> None:
    ctx = machine.state_ctx("C")
    machine.bind({"CExit": lambda e: False})
    machine.remove("C")
    assert not ctx.expired


def test_multi_state_entered_again_expires_its_context() -> None:
    machine = Machine({"A": State(multi=True)})
    machine.add("A")
    ctx = machine.state_ctx("A")
    machine.add("A")
    assert ctx.expired


async def test_block_of_a_context_ends_with_it(machine: Machine) -> None:
    reached: list[str] = []

    async def body() -> None:
        async with machine.state_ctx("C") as ctx:
            assert not ctx.expired
            reached.append("in")
            await asyncio.sleep(PATIENCE)
            reached.append("never")
        reached.append("after")

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    machine.remove("C")
    async with asyncio.timeout(PATIENCE):
        await task
    assert reached == ["in", "after"]
    assert task.cancelling() == 0


async def test_block_of_a_context_that_ends_first_is_left_alone(machine: Machine) -> None:
    async with machine.state_ctx("C") as ctx, machine.state_ctx("C") as same:
        assert ctx is same
    machine.remove("C")
    await asyncio.sleep(0)
    assert ctx._scopes == {}


async def test_cancellation_from_outside_goes_through_the_block(machine: Machine) -> None:
    async def body() -> None:
        async with machine.state_ctx("C"):
            await asyncio.sleep(PATIENCE)

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not machine.state_ctx("C")._callbacks


async def test_block_ended_from_another_thread(machine: Machine) -> None:
    thread = threading.Thread(target=machine.remove, args=("C",))
    async with asyncio.timeout(PATIENCE):
        async with machine.state_ctx("C"):
            thread.start()
            await asyncio.sleep(PATIENCE)
    thread.join(PATIENCE)


async def test_error_in_the_block_of_an_expired_context_is_not_swallowed(machine: Machine) -> None:
    async def body() -> None:
        async with machine.state_ctx("C"):
            machine.remove("C")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await body()
    await asyncio.sleep(0)


def test_arguments_that_cannot_be_compared_release_nothing(machine: Machine) -> None:
    class Array:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    wait = machine.when_args("A", x=Array())
    assert machine.when_args("A", x=1) is not wait
    assert machine.add("A", x=1) == 0
    assert not wait.done()


def test_values_may_look_at_the_machine_when_compared(machine: Machine) -> None:
    class Curious:
        def __eq__(self, other: object) -> bool:
            return machine.time().is1(0)

        __hash__ = None  # type: ignore[assignment]

    wait = machine.when_args("A", x=Curious())
    assert machine.when_args("A", x=2) is not wait
    machine.add("A", x=1)
    assert wait.done()


async def test_a_state_context_is_awaited_by_its_wait_in_a_coroutine() -> None:
    machine = Machine({"A": State()})
    machine.add("A")
    ctx = machine.state_ctx("A")
    assert await ctx.wait(timeout=0.001) is False
    asyncio.get_running_loop().call_soon(machine.remove, "A")
    async with asyncio.timeout(5):
        assert await ctx.wait() is True
    assert ctx.expired
    assert ctx.wait() == 1
    assert await ctx.wait() is True


def test_a_state_context_is_waited_for_in_a_thread() -> None:
    machine = Machine({"A": State()})
    machine.add("A")
    ctx = machine.state_ctx("A")
    assert ctx.wait(timeout=0.001) == 0
    machine.remove("A")
    assert ctx.wait(timeout=5) == 1
