"""The lines of waits, contexts, handlers and the end (spec machine 9.8)."""

from __future__ import annotations

import pytest

from amzmq.machine import EventCopy, LogLevel, Machine, State, Wait
from tests.machine.rig import Recorder, fail, logged, plain


def about(lines: list[str], *beginnings: str) -> list[str]:
    return [line for line in lines if line.startswith(beginnings)]


def test_waits_are_logged_when_made_and_when_met() -> None:
    machine = plain()
    lines = logged(machine)
    machine.when("B", "A")
    machine.when("A", "B")
    machine.when_not("C", "D").done()
    machine.add("C")
    machine.when_not("C")
    machine.when_time({"A": 3, "B": 1})
    machine.when_args("A", x=1, y=2)
    machine.when_query(lambda clock: False)
    machine.when_query(lambda clock: clock["A"] == 1)
    machine.when_queue(4)
    new = about(lines, "[when")
    assert new == [
        "[when:new] A B",
        "[whenNot:new] C",
        "[whenTime:new] A,B 3 1",
        "[whenArgs:new] A (x,y)",
        "[whenQuery:new] 0",
        "[whenQuery:new] 1",
        "[whenQueue:new] 4",
    ]
    machine.add("A", "B", x=1, y=2)
    machine.remove("A", "C")
    machine.add("A")
    assert about(lines, "[when")[len(new) :] == [
        "[whenArgs:match] A (x,y)",
        "[when:match] A B",
        "[whenQuery:match] 1",
        "[whenNot:match] C",
        "[whenQueue:match] 4",
        "[whenTime:match] A,B 3 1",
    ]


def test_contexts_are_logged_when_made_and_when_expired() -> None:
    machine = plain()
    lines = logged(machine)
    assert machine.state_ctx("A") is machine.state_ctx("A")
    machine.add("A")
    assert about(lines, "[ctx") == ["[ctx:new] A", "[ctx:match] A"]


def test_waits_of_a_low_level_are_not_logged() -> None:
    machine = plain()
    lines = logged(machine, LogLevel.CHANGES)
    machine.when("A")
    machine.when_time({"B": 1})
    machine.state_ctx("A")
    machine.add("A", "B")
    assert lines == ["[state] +A +B"]


def test_no_log_is_told_of_waits_once_it_is_off() -> None:
    machine = plain()
    lines = logged(machine)
    machine.set_log(LogLevel.NOTHING)
    machine.when("A")
    machine.add("A")
    assert lines == []
    assert machine.log_level is LogLevel.NOTHING


def test_log_of_a_wait_may_look_at_the_machine() -> None:
    machine = plain()
    seen: list[bool] = []
    machine.set_log(LogLevel.OPS, sink=lambda *_: seen.append(machine.time().sum() >= 0))
    machine.when("A")
    machine.state_ctx("A")
    machine.add("A")
    assert len(seen) >= 4


def test_lines_of_waits_are_never_merged() -> None:
    machine, tracer = plain(), Recorder()
    logged(machine)
    for _ in range(2):
        wait = machine.when("A")
        assert not wait.wait(timeout=0)
    machine.bind_tracer(tracer)
    machine.add("A")
    assert tracer.transitions[0].pre_log_entries.count("[when:new] A") == 2


def test_unknown_states_of_a_check_are_logged_at_decisions() -> None:
    machine = plain()
    lines = logged(machine, LogLevel.DECISIONS)
    assert not machine.is_("A")
    assert not machine.is_("A", "Nowhere")
    assert lines == ["[is] state Nowhere not found"]


def test_everything_names_each_event_and_binding() -> None:
    machine = plain("A", "B")
    machine.bind({"AEnter": lambda e: None}, id="one")
    lines = logged(machine, LogLevel.EVERYTHING)
    machine.bind({"AState": lambda e: None}, id="two")
    machine.add("A")
    assert about(lines, "[hand")[1:] == [
        "[handle:one] AEnter",
        "[handler:0] AEnter",
        "[handler:end] AEnter",
        "[handle:two] AEnter",
        "[handle:one] AnyEnter",
        "[handle:two] AnyEnter",
        "[handle:one] AState",
        "[handle:two] AState",
        "[handler:1] AState",
        "[handler:end] AState",
        "[handle:one] AnyState",
        "[handle:two] AnyState",
    ]
    lines.clear()
    machine.add("B")
    assert [line for line in lines if "[handle:one]" in line] == [
        f"[handle:one] {name}" for name in ("BEnter", "AA", "AB", "AnyEnter", "BState", "AnyState")
    ]
    machine.set_log(LogLevel.OPS, sink=lambda _, line: lines.append(line), show_id=False)
    lines.clear()
    machine.remove("A")
    assert about(lines, "[hand") == []


def test_everything_changes_nothing_of_what_happens() -> None:
    pairs = []
    for level in (LogLevel.NOTHING, LogLevel.EVERYTHING):
        machine = Machine(
            {"A": State(auto=True, require="C"), "B": State(multi=True, add="C"), "C": State()}
        )
        calls: list[str] = []
        logged(machine, level)
        machine.bind({n: lambda e, c=calls: c.append(e.name) for n in ("AEnter", "BC", "CState")})
        for change in (machine.add, machine.set, machine.remove, machine.add):
            change("B")
        pairs.append((calls, machine.string_all(), machine.queue_tick))
    assert pairs[0] == pairs[1]


def test_auto_states_that_are_kept_out_are_named_at_everything() -> None:
    schema = {"A": State(auto=True), "B": State(auto=True), "C": State(remove="A")}
    machine = Machine(schema)
    lines = logged(machine, LogLevel.EVERYTHING)
    machine.add("C")
    assert "[auto:rel:remove] A by C" in lines
    assert "[auto] B" in lines
    machine.remove("B")
    lines = logged(machine, LogLevel.DECISIONS)
    machine.remove("C")
    assert about(lines, "[auto:rel") == []


def test_raised_errors_are_logged_with_what_was_called() -> None:
    machine = plain()
    machine.bind({"BState": fail("why")})
    lines = logged(machine)
    machine.add("A", "B", "C")
    (line,) = about(lines, "[error:add]")
    assert line.startswith("[error:add] A B C (why)\nTraceback")
    machine.log_stack_trace = False
    machine.add("B")
    assert lines[-1:] != [line]
    assert "[error:add] B (why)" in lines


def test_added_errors_are_logged_with_their_trace() -> None:
    machine = plain()
    lines = logged(machine)
    try:
        raise ValueError("raised")
    except ValueError as error:
        machine.add_err(error)
    machine.add_err(ValueError("made"))
    raised, made = about(lines, "[error]")
    assert raised.startswith("[error] raised\nTraceback")
    assert made == "[error] made"


def test_evals_are_logged_to_their_end() -> None:
    machine = plain()
    lines = logged(machine, LogLevel.EVERYTHING)
    machine.eval("here", lambda: None)
    ctx = Wait()
    ctx.release()
    assert not machine.eval("there", lambda: None, ctx)
    assert about(lines, "[eval") == [
        "[eval] here",
        "[eval:end] here",
        "[eval] there",
        "[eval:ctxdone] there",
    ]


def test_user_lines_of_an_event_carry_its_name() -> None:
    machine = plain(id="machine")
    lines: list[str] = []
    machine.set_log(LogLevel.EXTERNAL, sink=lambda _, line: lines.append(line))
    machine.bind({"AState": lambda e: machine.log_ev(e, "it is\nopen")})
    machine.add("A")
    machine.log_ev(EventCopy("m", "tx", "BState"), "x")
    assert lines == ["[machi] [AState] [exter] it is open", "[machi] [BState] [exter] x"]


def test_nothing_is_logged_while_disposing_but_the_last_line() -> None:
    machine = plain("Start", "A")
    lines = logged(machine, LogLevel.EVERYTHING)
    machine.bind({"AState": lambda e: machine.dispose(), "AnyState": lambda e: None})
    machine.when("Start")
    lines.clear()
    machine.add("A")
    machine.log("too late")
    assert lines[-1] == "[end] doDispose"
    # The handler is the last thing that was announced before.
    assert lines[-2] == "[handler:0] AState"


@pytest.mark.parametrize("level", [LogLevel.OPS, LogLevel.EVERYTHING])
async def test_starts_of_async_handlers_are_logged_and_traced(level: LogLevel) -> None:
    machine, tracer = plain(), Recorder()

    async def state(event: object) -> None: ...

    machine.bind({"AState": state}, id="h")
    machine.bind_tracer(tracer)
    lines = logged(machine, level)
    machine.add("A")
    assert "[handler:0] AState" in lines
    assert [call for call in tracer.calls if call.startswith("handler")] == [
        "handler_start h AState",
        "handler_end h AState",
    ]
    machine.dispose()
    await machine.when_disposed()
