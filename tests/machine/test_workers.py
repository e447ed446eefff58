"""Handlers on a thread of the machine's own, and what becomes of one that hangs (spec 5.5)."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from amzmq.errors import HandlerTimeout, NestedEval
from amzmq.machine import (
    CHECK_ARGS,
    EXCEPTION_ARGS,
    CheckArgs,
    Event,
    ExceptionArgs,
    LogLevel,
    Machine,
    Result,
    State,
)
from tests.machine.rig import PATIENCE, fail, logged, plain, recorded


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets the handlers go that a test has hung."""
    event = threading.Event()
    yield event
    event.set()


def threaded(*names: str, **options: Any) -> Machine:
    times = {"handler_timeout": 0.02, "handler_deadline": 0.05, "handler_backoff": PATIENCE}
    return plain(*names, handler_threads=True, **(times | options))


def end(machine: Machine) -> None:
    machine.dispose()
    assert machine.when_disposed().wait(timeout=PATIENCE)


def threads_of(machine: Machine) -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == f"{machine.id}.handlers"]


def until(condition: Any) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return bool(condition())


def test_handlers_share_one_thread_that_ends_with_the_machine() -> None:
    machine, seen = threaded(), []
    machine.bind({"AEnter": lambda e: seen.append(threading.current_thread())})
    machine.bind({"AState": lambda e: seen.append(threading.current_thread())})
    assert threads_of(machine) == []
    assert machine.add("A") == Result.EXECUTED
    assert seen == threads_of(machine) * 2
    assert seen[0] is not threading.current_thread()
    end(machine)
    seen[0].join(PATIENCE)
    assert threads_of(machine) == []


def test_without_the_option_handlers_run_on_the_thread_that_drains() -> None:
    machine, seen = plain(), []
    machine.bind({"AState": lambda e: seen.append(threading.current_thread())})
    machine.add("A")
    assert seen == [threading.current_thread()]


def test_all_is_as_without_the_option() -> None:
    pictures = []
    for option in (False, True):
        schema = {"A": State(auto=True, require="C"), "B": State(multi=True, add="C"), "C": State()}
        machine = Machine(schema, handler_threads=option)
        calls = recorded(machine, {"AC": False}, {"BState": lambda e: e.machine.add("B", "C")})
        machine.bind({"CEnd": fail("end")})
        results = [machine.add("B"), machine.set("C"), machine.remove("C"), machine.can_add("A")]
        pictures.append((calls, results, machine.string_all(), machine.queue_tick))
        end(machine)
    assert pictures[0] == pictures[1]


def test_handlers_see_the_context_of_the_caller() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    machine, seen = threaded(), []
    machine.bind({"AState": lambda e: seen.append(variable.get())})
    variable.set("set")
    machine.add("A")
    end(machine)
    assert seen == ["set"]


def test_late_handler_that_returns_costs_only_its_transition(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = threaded("A", "B", "D", handler_deadline=PATIENCE)
    valid: list[bool] = []

    def slow(event: Event) -> None:
        time.sleep(0.04)
        valid.append(event.is_valid())
        raise ValueError("too late")

    machine.bind({"BState": slow})
    lines = logged(machine, LogLevel.EVERYTHING)
    (before,) = threads_of(machine) or [None]
    assert machine.add("A", "B", "D") == Result.CANCELED
    assert machine.string_all() == "(A:1) [B:2 D:2 Exception:0]"
    assert valid == [True]
    assert isinstance(machine.err_internal(), HandlerTimeout)
    assert "[cancel] (A B D) by timeout" in lines
    assert not any(line.startswith("[handler:deadline]") for line in lines)
    assert "BState raised after its timeout" in caplog.text
    assert before is None
    assert len(threads_of(machine)) == 1
    end(machine)


def test_hanging_handler_is_left_behind(release: threading.Event) -> None:
    machine = threaded()
    check = CheckArgs()

    def hang(event: Event) -> None:
        machine.add("C")
        machine.can_add("C", args={CHECK_ARGS: check})
        release.wait(PATIENCE)

    details: list[ExceptionArgs] = []
    machine.bind({"BState": hang}, id="h")
    machine.bind({"ExceptionState": lambda e: details.append(e.args[EXCEPTION_ARGS])})
    lines = logged(machine, LogLevel.EVERYTHING)
    began = time.monotonic()
    assert machine.add("A", "B", "D") == Result.CANCELED
    assert 0.05 <= time.monotonic() - began < PATIENCE
    assert machine.string_all() == "(A:1 Exception:1) [B:2 C:0 D:2]"
    assert machine.queue_tick == 3
    assert (check.done.done(), check.canceled) == (True, True)
    assert "[handler:deadline] BState from h" in lines
    assert isinstance(machine.err(), HandlerTimeout)
    assert (details[0].called, details[0].before) == (("A", "B", "D"), ())
    assert details[0].target == ("A", "B", "D")
    # Its successor has called ExceptionState already.
    assert len(threads_of(machine)) == 2
    held = [machine.add("C"), machine.remove("A"), machine.can_add("C"), machine.add_err(OSError())]
    assert set(held) == {Result.CANCELED}
    end(machine)
    release.set()


def test_left_behind_handler_that_returns_is_told_of(release: threading.Event) -> None:
    machine = threaded(handler_backoff=0.0)
    machine.bind({"AEnter": lambda e: release.wait(PATIENCE)})
    assert machine.add("A") == Result.CANCELED
    assert machine.is_err()
    tick = machine.tick("Exception")
    release.set()
    assert until(lambda: machine.tick("Exception") > tick)
    assert str(machine.err()) == "deadlined handler finished, theoretical leak: AEnter"
    assert until(lambda: len(threads_of(machine)) == 0)
    assert machine.set("B") == Result.EXECUTED
    end(machine)


def test_late_return_is_not_told_of_in_the_backoff(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    machine = threaded()

    def hang(event: Event) -> None:
        release.wait(PATIENCE)
        raise ValueError("nobody hears")

    machine.bind({"AEnter": hang})
    machine.add("A")
    error = machine.err()
    with caplog.at_level(logging.ERROR, "amzmq.machine"):
        release.set()
        assert until(lambda: not threads_of(machine))
    assert machine.err() is error
    assert "AEnter raised after its timeout" in caplog.text
    end(machine)


def test_handler_that_ends_while_it_is_given_up_has_ended(release: threading.Event) -> None:
    machine = threaded(handler_deadline=0.02)
    threads = machine._threads
    assert threads is not None
    waited: list[bool] = []
    wait = threads.wait

    def late(job: Any, timeout: float) -> bool:
        if not waited:
            waited.append(wait(job, timeout))
            return waited[0]
        release.set()
        assert wait(job, PATIENCE)
        return False  # the deadline has passed at the very moment it returned

    type(threads).wait, saved = (lambda self, job, timeout: late(job, timeout)), type(threads).wait  # type: ignore[method-assign]
    try:
        machine.bind({"AEnter": lambda e: release.wait(PATIENCE)})
        assert machine.add("A") == Result.CANCELED
    finally:
        type(threads).wait = saved  # type: ignore[method-assign]
    assert waited == [False]
    assert not machine.is_err()
    assert not machine.backoff()
    end(machine)


def test_interrupt_of_the_waiting_thread_leaves_the_handler_behind(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amzmq.machine import workers

    machine = threaded()
    machine.bind({"AEnter": lambda e: release.wait(PATIENCE)})
    wait = workers.Job.wait

    def interrupted(job: workers.Job, timeout: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers.Job, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    monkeypatch.setattr(workers.Job, "wait", wait)
    assert machine.transition() is None
    machine.bind({"BState": lambda e: None})
    assert machine.add("B") == Result.EXECUTED
    assert len(threads_of(machine)) == 2
    end(machine)


def test_interrupt_in_a_handler_reaches_the_caller() -> None:
    machine = threaded()

    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    machine.bind({"AState": interrupted})
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    assert machine.is_("A")
    end(machine)


def test_forced_dispose_in_a_handler() -> None:
    machine, calls = threaded(), []
    machine.bind({"AEnter": lambda e: machine.dispose_force()})
    machine.bind({"AEnter": lambda e: calls.append("second")})
    assert machine.add("A") == Result.CANCELED
    assert calls == []
    assert until(lambda: not threads_of(machine))


def test_call_after_the_thread_was_stopped_calls_nothing() -> None:
    machine, calls = threaded(), []
    machine.bind({"AEnter": lambda e: calls.append("AEnter")})
    assert machine._threads is not None
    machine._threads.stop()
    machine.add("A")
    assert calls == []
    assert threads_of(machine) == []
    end(machine)


def test_eval_in_a_handler_is_refused_on_its_thread_too() -> None:
    machine, answers = threaded(handler_timeout=PATIENCE), []
    machine.bind({"AState": lambda e: answers.append(machine.eval("here", lambda: None))})
    machine.add("A")
    assert answers == [False]
    assert isinstance(machine.err_internal(), NestedEval)
    end(machine)


async def test_async_handlers_and_forks_keep_to_the_loop() -> None:
    machine, seen = threaded(handler_timeout=PATIENCE), []

    async def state(event: Event) -> None:
        seen.append(threading.current_thread())

    async def forked() -> None:
        seen.append(threading.current_thread())
        machine.add("C")

    machine.bind({"AState": state})
    machine.bind({"BState": lambda e: machine.fork(e, forked) and None})
    machine.add("A")
    machine.add("B")
    await asyncio.wait_for(machine.when("C"), PATIENCE)
    assert seen == [threading.current_thread()] * 2
    machine.dispose()
    await machine.when_disposed()
