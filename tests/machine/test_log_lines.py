"""The lines of the log, and the breakpoints that match them (spec machine 9.8)."""

from __future__ import annotations

import logging

import pytest

from amzmq.machine import (
    LogLevel,
    Machine,
    Result,
    Source,
    State,
    log_args,
)
from tests.machine.rig import PATIENCE, Recorder, fail, logged, plain


def test_lines_of_an_ordinary_mutation() -> None:
    machine = Machine({"Foo": State(add="Bar"), "Bar": State()})
    machine.bind({"FooEnter": lambda e: None})
    lines = logged(machine)
    machine.add("Foo")
    assert lines == [
        "[queue:add] Foo",
        "[add] Foo",
        "[implied] Bar",
        "[handler:0] FooEnter",
        "[state] +Foo +Bar",
    ]


def test_lines_of_less_ordinary_things() -> None:
    machine = Machine(
        {
            "A": State(auto=True, require="C"),
            "B": State(remove="D"),
            "C": State(),
            "D": State(remove="E"),
            "E": State(),
            "M": State(multi=True),
        },
        id="machine",
    )
    lines = logged(machine, LogLevel.EVERYTHING)
    tracer = Recorder()
    machine.bind_tracer(tracer)
    id = machine.bind({"MState": lambda e: [machine.add("D"), machine.add("D")] and None}, id="x")
    machine.add("D")
    first = tracer.transitions[0]
    assert first.pre_log_entries == ["[tracers] bind recorder", "[handlers] bind 0:x"] + [
        "[queue:add] D"
    ]
    assert "[state] +D" in first.log_entries
    machine.add("E", name="a long name that is cut")
    machine.add("M", event=Source("m2", "tx", 5))
    machine.add("M")
    machine.detach(id)
    machine.detach_tracer("recorder")
    machine.set("B")
    machine.can_add("C")
    machine.add("C")
    machine.remove("C")
    machine.log("two\nlines")
    machine.eval("here", lambda: None)
    machine.add_err(ValueError("why"))
    machine.import_(machine.export())
    for line in (
        "[queue:add] E (name=a long name that ...)",
        "[rel:remove] E by D",
        "[cancel:reject] E",
        "[source] m2/tx/5",
        "[postpone] queue running (1 item)",
        "[queue:skipped] Duplicate detected for [add] D",
        "[state] +M M D",
        "[handlers] detach x",
        "[tracers] detach recorder",
        "[state] +B -D -M",
        "[prepend:add] C",
        "[add:auto] A",
        "[auto] A",
        "[reject] A(-C)",
        "[exter] two lines",
        "[eval] here",
        "[error] why",
    ):
        assert line in lines
    assert any(line.startswith("[auto_] +A ") for line in lines)
    assert f"[import] imported 1 times, now at {machine.time().sum()} ticks" in lines


def test_failures_are_logged() -> None:
    machine = plain(handler_timeout=0.0)
    machine.bind({"AState": lambda e: sum(range(1000)), "BState": fail()}, id="h")
    machine.bind({"BState": fail()}, id="i")
    lines = logged(machine, LogLevel.DECISIONS)
    machine.add("A")
    assert "[cancel] (A) by timeout" in lines
    assert "[handler:timeout]: AState from h" in lines
    machine.handler_timeout = PATIENCE
    machine.add("B")
    assert "[recover] handling panic..." in lines
    assert "[recover] partial final states as ()" in lines
    assert "[handler:invalid] BState" in lines


def test_lines_go_to_the_standard_logger_with_the_id(caplog: pytest.LogCaptureFixture) -> None:
    machine = plain(id="machine", log_level=LogLevel.CHANGES)
    with caplog.at_level(logging.DEBUG, "amzmq.machine"):
        machine.add("A")
    assert [record.getMessage() for record in caplog.records] == ["[machi] [state] +A"]
    machine.set_log(LogLevel.NOTHING)
    assert machine.log_level == LogLevel.NOTHING
    assert machine._plain


def test_failing_sink_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    machine = plain()
    machine.set_log(LogLevel.OPS, sink=lambda level, line: fail("sink")(None))  # type: ignore[arg-type,return-value]
    assert machine.add("A") == Result.EXECUTED
    assert "sink" in caplog.text


def test_logged_arguments_are_cut() -> None:
    assert log_args({"id": "abcdef", "name": 5}, length=4) == {"id": "abcd", "name": "5"}
    assert log_args({"secret": 1}) == {}
    machine = plain()
    lines = logged(machine, args=None)
    machine.add("A", name="x")
    assert "[state] +A" in lines


def test_breakpoints_match_exactly_and_strict_ones_skip_the_vain() -> None:
    machine = plain()
    machine.add_breakpoint(added=["A", "B"], strict=True)
    machine.add_breakpoint(removed=["A"], strict=True)
    lines = logged(machine)
    for change, states in (
        (machine.remove, "A"),
        (machine.add, "BA"),
        (machine.remove, "B"),
        (machine.add, "AB"),
        (machine.add, "AB"),
        (machine.can_add, "AB"),
        (machine.remove, "A"),
    ):
        change(*states)
    assert lines.count("[breakpoint] Machine.breakpoint") == 2
