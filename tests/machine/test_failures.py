"""Handlers that raise, take too long, or are left by something worse (spec machine 5.5, 5.6)."""

from __future__ import annotations

import logging

import pytest

from amzmq.errors import Canceled, HandlerTimeout, InvalidArgs, StateUnknown
from amzmq.machine import (
    CHECK_ARGS,
    EXCEPTION_ARGS,
    CheckArgs,
    Event,
    ExceptionArgs,
    Machine,
    Result,
    State,
)
from tests.machine.rig import Recorder, fail, plain, recorded


def slow(event: Event) -> None:
    sum(range(1000))


# 5.6: exceptions.


def test_state_handler_that_raises_takes_its_state_and_all_after_it_out() -> None:
    machine = Machine({"M": State(multi=True), "A": State(), "B": State(), "C": State()})
    machine.add("M")
    machine.bind({"BState": fail()})
    assert machine.add("M", "A", "B", "C") == Result.CANCELED
    # M was called and stays: two repeated commits tick it twice more, a quirk (5.6).
    assert machine.string_all() == "(M:7 A:1 Exception:1) [B:2 C:2]"


def test_examples_of_the_specification() -> None:
    machine = plain()
    machine.set("A", "B")
    machine.bind({"CState": fail()})
    machine.set("C", "D")
    assert machine.string_all() == "(Exception:1) [A:2 B:2 C:2 D:2]"
    machine = plain()
    machine.set("A", "B")
    machine.bind({"AEnd": fail()})
    machine.set("C", "D")
    assert machine.string_all() == "(C:1 D:1 Exception:1) [A:2 B:2]"
    machine = plain()
    machine.bind({"BEnter": fail()})
    assert machine.add("A", "B") == Result.CANCELED
    assert machine.string_all() == "(Exception:1) [A:0 B:0 C:0 D:0]"
    assert machine.queue_tick == 2


def test_any_state_that_raises_reverts_nothing() -> None:
    machine = plain()
    machine.bind({"AnyState": lambda e: fail()(e) if "Exception" not in str(e) else None})
    assert machine.add("A") == Result.CANCELED
    assert machine.is_("A", "Exception")


def test_exception_state_gets_the_error_with_its_circumstances() -> None:
    machine = plain()
    machine.add("A")
    seen: list[Event] = []
    machine.bind({"BEnter": fail("why"), "ExceptionState": seen.append})
    machine.add("B")
    details = seen[0].args[EXCEPTION_ARGS]
    assert isinstance(details, ExceptionArgs)
    assert (str(details.err), details.called, details.before) == ("why", ("B",), ("A",))
    assert "ValueError: why" in details.trace
    assert seen[0].error is details.err is machine.err()
    assert repr(details) == "ExceptionArgs(ValueError('why'))"


def test_later_bindings_of_a_failed_final_event_are_told_but_not_called() -> None:
    machine, tracer, called = plain(), Recorder(), []
    machine.bind({"AState": fail()}, id="one")
    machine.bind({"AState": called.append}, id="two")
    machine.bind_tracer(tracer)
    machine.add("A")
    assert called == []
    handlers = [call for call in tracer.calls if call.startswith("handler")]
    assert handlers == [
        "handler_start one AState",
        "handler_end one AState",
        "handler_start two AState",
        "handler_end two AState",
    ]


def test_later_bindings_of_a_failed_negotiation_are_not_told() -> None:
    machine, tracer = plain(), Recorder()
    machine.bind({"AEnter": fail()}, id="one")
    machine.bind({"AEnter": slow}, id="two")
    machine.bind_tracer(tracer)
    machine.add("A")
    assert "handler_start two AEnter" not in tracer.calls


def test_handler_of_exception_that_raises_is_not_nested(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = plain()
    machine.bind({"ExceptionState": fail("nested"), "AState": lambda e: None})
    error = ValueError("first")
    assert machine.add_err(error) == Result.CANCELED
    assert machine.err() is error
    assert machine.tick("Exception") == 2
    assert machine.add("A") == Result.EXECUTED
    assert "raised while handling an error" in caplog.text


def test_failed_transition_follows_no_auto_and_calls_no_any_state() -> None:
    machine = Machine({"A": State(), "B": State(auto=True, require="A")})
    calls: list[str] = []
    machine.bind({"AEnd": fail(), "AnyState": lambda e: calls.append(str(e))})
    machine.set("A")
    machine.remove("A")
    assert calls == ["[set] A", "[add] B", "[add] Exception"]


def test_errors_can_be_let_through() -> None:
    machine = plain(panic_to_exception=False)
    calls: list[Event] = []
    machine.bind({"AState": fail("through"), "BState": calls.append})
    machine.bind({"AEnter": lambda e: machine.add("B") and None})
    with pytest.raises(ValueError, match="through"):
        machine.add("A")
    assert not machine.is_err()
    assert len(calls) == 1
    guard = machine.panic_to_err()
    with pytest.raises(ValueError, match="through"), guard:
        raise ValueError("through")


@pytest.mark.parametrize("handler", ["AEnter", "AState", "AnyState"])
def test_machine_is_usable_after_what_is_no_exception(handler: str) -> None:
    machine = plain()
    calls: list[str] = []

    def interrupted(event: Event) -> None:
        if event.mutation.called == (0,):
            machine.add("B")
            raise KeyboardInterrupt

    id = machine.bind({handler: interrupted})
    machine.bind({"BState": lambda e: calls.append(e.name)})
    ends = machine.when_queue_ends()
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    machine.detach(id)
    assert ends.done()
    assert machine.transition() is None
    assert machine.queue_len == 0
    assert machine.add("C") == Result.EXECUTED
    assert machine.is_("B", "C")


def test_interrupts_of_waiting_mutations_leave_the_machine_usable_too() -> None:
    machine = plain()

    def interrupted(event: Event) -> None:
        machine.add("B" if event.name == "AState" else "C")
        raise KeyboardInterrupt

    machine.bind({"AState": interrupted, "BState": interrupted})
    with pytest.raises(KeyboardInterrupt):
        machine.add("A")
    assert machine.is_("A", "B", "C")


def test_error_in_the_auto_negotiation_cancels_it() -> None:
    machine = Machine({"A": State(), "B": State(auto=True)})
    failures = iter([fail()])
    machine.bind({"BEnter": lambda e: next(failures, lambda e: True)(e)})
    ticks: list[int] = []
    machine.bind({"ExceptionEnter": lambda e: ticks.append(machine.tick("B"))})
    assert machine.add("A") == Result.EXECUTED
    assert ticks == [0]
    # Exception has changed the clock, so that the auto state has its second chance.
    assert machine.is_("A", "B", "Exception")


# 5.5: time.


def test_slow_negotiation_cancels_without_an_error_state() -> None:
    machine = plain(handler_timeout=0.0)
    machine.bind({"AEnter": slow})
    assert machine.add("A") == Result.CANCELED
    assert machine.string_all() == "() [A:0 B:0 C:0 D:0 Exception:0]"
    error = machine.err_internal()
    assert isinstance(error, HandlerTimeout)
    assert "AEnter" in str(error)
    assert machine.err_internal() is None


def test_slow_final_handler_is_taken_back_once() -> None:
    machine = Machine({"A": State(multi=True), "B": State(), "D": State()}, handler_timeout=0.0)
    machine.bind({"BState": slow})
    assert machine.add("A", "B", "D") == Result.CANCELED
    assert machine.string_all() == "(A:3) [B:2 D:2 Exception:0]"


def test_slow_any_state_is_only_reported() -> None:
    machine = plain(handler_timeout=0.0)
    machine.bind({"AnyState": slow})
    assert machine.add("A") == Result.CANCELED
    assert machine.is_("A")


def test_slow_negotiation_of_an_auto_state_cancels_all_of_it() -> None:
    machine = Machine({"A": State(), "B": State(auto=True), "C": State(auto=True)})
    machine.bind({"BEnter": slow})
    machine.handler_timeout = 0.0
    machine.add("A")
    assert machine.active_states() == ["A"]


def test_only_the_last_ten_timeouts_are_kept() -> None:
    machine = plain(handler_timeout=0.0)
    machine.bind({"AEnter": slow})
    for _ in range(15):
        machine.add("A")
    count = 0
    while machine.err_internal():
        count += 1
    assert count == 10


def test_passed_deadline_costs_the_queue_and_holds_back() -> None:
    machine = plain(handler_timeout=0.0, handler_deadline=0.0, handler_backoff=60.0)
    check = CheckArgs()

    def state(event: Event) -> None:
        machine.add("C")
        machine.can_add("C", args={CHECK_ARGS: check})
        slow(event)

    machine.bind({"BState": state})
    assert machine.add("A", "B", "D") == Result.CANCELED
    assert machine.string_all() == "(A:1 Exception:1) [B:2 C:0 D:2]"
    assert machine.queue_tick == 3
    assert isinstance(machine.err(), HandlerTimeout)
    assert (check.done.done(), check.canceled) == (True, True)
    assert machine.backoff()
    held = [machine.add("C"), machine.remove("A"), machine.can_add("C"), machine.add_err(OSError())]
    assert set(held) == {Result.CANCELED}
    # A quirk of the reference (3.3): set knows of no backoff.
    machine.handler_timeout = 60.0
    assert machine.set("C") == Result.EXECUTED
    machine._backoff_until = 1e-9
    assert not machine.backoff()
    assert machine.add("A") == Result.EXECUTED


# 7: adding errors.


def test_error_reaches_the_callback_first() -> None:
    machine = plain()
    seen: list[object] = []
    machine.on_error(lambda m, error: seen.append((m.is_err(), str(error))))
    machine.add_err(ValueError("x"), args={"user": 1})
    assert seen == [(False, "x")]


def test_error_states_that_require_exception_go_with_it() -> None:
    both = State(multi=True, add="Exception", require="Exception")
    machine = Machine({"ErrNet": both, "Exception": State(multi=True)})
    machine.add("ErrNet")
    assert str(machine) == "(ErrNet:1 Exception:1)"
    machine.add_err_state("ErrNet", ValueError())
    assert str(machine) == "(ErrNet:3 Exception:3)"
    assert machine.remove("Exception") == Result.EXECUTED
    assert str(machine) == "()"
    assert machine.err() is not None


def test_what_is_no_error_is_not_added() -> None:
    machine = plain()
    assert machine.add_err(Canceled("x")) == Result.CANCELED
    assert machine.err() is None

    class Wrapped(Canceled):
        pass

    assert machine.add_err(Wrapped("x")) == Result.EXECUTED
    with pytest.raises(InvalidArgs):
        machine.add_err("text")  # type: ignore[arg-type]
    with pytest.raises(StateUnknown):
        machine.add_err_state("Unknown", ValueError())
    with pytest.raises(StateUnknown):
        machine.panic_to_err_state("Unknown")


def test_guard_lets_pass_what_is_no_exception() -> None:
    machine = plain()
    with machine.panic_to_err():
        pass
    with pytest.raises(KeyboardInterrupt), machine.panic_to_err():
        raise KeyboardInterrupt
    assert not machine.is_err()
    machine.dispose()
    with machine.panic_to_err():
        raise ValueError("nobody cares")
    assert machine.err() is None


def test_traces_can_be_left_out() -> None:
    machine = plain(log_stack_trace=False)
    details: list[object] = []
    machine.bind({"AState": fail()})
    machine.bind({"ExceptionState": lambda e: details.append(e.args[EXCEPTION_ARGS].trace)})
    machine.add("A")
    machine.add_err(ValueError("x"))
    assert details == ["", ""]


def test_first_binding_hears_of_the_last_error() -> None:
    machine, seen = plain(), []
    error = ValueError("early")
    machine.add_err(error)
    machine.bind({"ExceptionState": lambda e: seen.append(e.error)})
    machine.bind({"ExceptionState": lambda e: None})
    assert seen == [error]
    assert (machine.tick("Exception"), machine.queue_tick) == (3, 3)


def test_failing_callbacks_of_the_user_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    machine = plain()
    machine.on_change(lambda *_: fail()(None))  # type: ignore[arg-type]
    machine.on_dispose(lambda: fail()(None))  # type: ignore[arg-type,return-value]
    with caplog.at_level(logging.ERROR, "amzmq.machine"):
        assert machine.add("A") == Result.EXECUTED
        machine.dispose()
    assert caplog.text.count("ValueError: boom") == 2


def test_on_change_hears_of_canceled_transitions_too() -> None:
    machine, seen = plain(), []
    machine.on_change(lambda m, before, after: seen.append((before.sum(), after.sum())))
    machine.bind({"BEnter": lambda e: False})
    machine.add("A")
    machine.add("B")
    machine.can_add("C")
    assert seen == [(0, 1), (1, 1)]
    machine.on_change(None)
    machine.add("C")
    assert len(seen) == 2


def test_veto_stops_at_once() -> None:
    machine = plain()
    calls = recorded(machine, {"AEnter": False})
    machine.bind({"AEnter": calls.append})
    assert machine.add("A", "B") == Result.CANCELED
    assert calls == ["AEnter"]
