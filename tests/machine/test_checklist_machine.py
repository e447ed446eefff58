"""The rest of the machine: the reference's own tests (spec machine 11); README.md maps them."""

from __future__ import annotations

import pytest

from amzmq.errors import BindError, InvalidArgs, MachineError, SchemaError, StateUnknown
from amzmq.machine import (
    LastTransition,
    LogLevel,
    Machine,
    Result,
    State,
    States,
    Time,
    log_args,
)
from tests.machine.checklist import from_
from tests.machine.rig import fail, logged, plain, relations


def test_switch() -> None:
    machine = from_(plain(), "B", "C")
    assert machine.switch("A", "C", "B") == "C"
    assert machine.switch("A") == ""


def test_dispose_calls_back() -> None:
    called: list[int] = []
    for dispose in ("dispose", "dispose_force"):
        machine = plain()
        machine.on_dispose(lambda: called.append(1))
        getattr(machine, dispose)()
        assert machine.is_disposed
    assert len(called) == 2


def test_disposed_machine_does_nothing() -> None:
    machine = from_(plain(), "A")
    waits = [machine.when("B"), machine.when_query(lambda clock: False), machine.state_ctx("A")]
    machine.dispose()
    mutations = [machine.add("A"), machine.remove("A"), machine.set("A"), machine.toggle("A")]
    mutations += [machine.can_add("A"), machine.can_remove("A"), machine.add_err(ValueError())]
    assert set(mutations) == {Result.CANCELED}
    assert all(wait.done() for wait in [*waits, machine.when("C"), machine.when_ticks("A", 5)])
    reads = [machine.is_("A"), machine.not_("A"), machine.any_("A"), machine.has("A")]
    assert reads == [False] * 4
    assert (str(machine), machine.string_all(), machine.tick("A")) == ("", "", 0)
    assert (machine.clock(), machine.time(), machine.index("A")) == ({}, (), -1)
    assert machine.active_states() == []
    assert machine.state_names == ("A", "B", "C", "D", "Exception")
    assert machine.queue_tick == 2
    assert machine.bind({"AState": fail()}) == ""


def test_log_args() -> None:
    machine = plain()
    lines = logged(machine, args=lambda args: log_args(args, {"arg"}, 5))
    machine.add("A", arg="foobar")
    assert "[state] +A (arg=fo...)" in lines


def test_handler_args() -> None:
    machine = plain()
    seen: list[object] = []
    names = ("AEnter", "AExit", "AState")
    machine.bind({name: lambda e: seen.append((e.name, e.args["x"])) for name in names})
    machine.add("A", x=1)
    machine.remove("A", args={"x": 2})
    assert seen == [("AEnter", 1), ("AState", 1), ("AExit", 2)]


def test_event_mutations_carry_their_source() -> None:
    machine, last = plain(id="here"), LastTransition()
    machine.bind({"AState": lambda e: machine.add("B", event=e)})
    machine.bind_tracer(last)
    machine.add("A")
    assert last.last is not None
    assert last.last.source is not None
    assert last.last.source.machine_id == "here"


def test_eval() -> None:
    machine, ran = plain(), []
    assert machine.eval("test", lambda: ran.append(machine.add("A")))
    assert ran == [2]
    assert machine.is_("A")


def test_nested_eval_is_refused() -> None:
    machine, results = plain(), []
    machine.eval("outer", lambda: results.append(machine.eval("inner", lambda: None)))
    assert results == [False]
    assert not machine.is_err()


def test_eval_in_a_handler_is_an_error_if_asked_for() -> None:
    machine, results = plain(detect_eval=True), []
    machine.bind({"AState": lambda e: results.append(machine.eval("direct", lambda: None))})
    machine.add("A")
    assert results == [False]
    assert machine.is_err()


def test_breakpoints_do_not_break() -> None:
    machine = plain()
    machine.add_breakpoint(added=["A"])
    machine.add_breakpoint(removed=["A"], strict=True)
    lines = logged(machine)
    assert machine.add("A") == machine.remove("A") == Result.EXECUTED
    assert lines.count("[breakpoint] Machine.breakpoint") == 2


def test_schema_can_grow() -> None:
    machine = from_(plain(), "A", "B", "D")
    before = machine.schema_ver
    machine.set_schema({**machine.schema, "E": State(require="A")})
    assert machine.schema_ver == before + 1
    machine.add("E")
    assert set(machine.active_states()) == {"A", "B", "D", "E"}


def test_is_not_and_any() -> None:
    machine = from_(plain(), "A", "B")
    assert machine.is_("A", "B")
    assert not machine.is_("A", "C")
    assert not machine.is_("Unknown")
    assert machine.is_()
    assert machine.not_("C", "D")
    assert not machine.not_("A", "C")
    with pytest.raises(StateUnknown):
        machine.not_("Unknown")
    assert machine.any_("C", "A")
    assert machine.any_(("C", "D"), ("A", "B"))
    assert not machine.any_(("A", "C"))


INSPECTION = """\
1 A
    |Tick     1
    |Auto     true
    |Require  C
0 B
    |Tick     0
    |Multi    true
    |Add      C
1 C
    |Tick     1
    |After    D
0 D
    |Tick     0
    |Add      C B
0 Exception
    |Tick     0
    |Multi    true
"""


def test_inspect() -> None:
    machine = from_(relations(), "A", "C")
    assert machine.inspect() == INSPECTION
    machine.remove("C")
    machine.add("B")
    machine.add("D")
    ticks = [line for line in machine.inspect("D", "A").splitlines() if "Tick" in line]
    assert ticks == ["    |Tick     1", "    |Tick     3"]


def test_random_ids_are_long() -> None:
    assert len(plain().id) > 5


def test_strings() -> None:
    machine = from_(plain(), "A", "B")
    assert str(machine) == "(A:1 B:1)"
    assert machine.string_all() == "(A:1 B:1) [C:0 D:0 Exception:0]"


def test_order_of_states_is_verified() -> None:
    with pytest.raises(SchemaError, match="Unknown"):
        plain(states=[*"ABCD", "Exception", "Unknown"])
    with pytest.raises(SchemaError, match="D"):
        plain(states=[*"ABC", "Exception"])
    with pytest.raises(SchemaError):
        plain().verify_states("A")


def test_has() -> None:
    assert plain().has("A", "A", "B")
    assert not plain().has("A", "Unknown")


def test_is_clock_and_is_time() -> None:
    machine = from_(plain(), "A", "B")
    assert machine.is_clock({"A": 1, "B": 1})
    assert not machine.is_clock({"A": 1, "B": 2})
    assert machine.is_time([1, 1, 0, 0, 0])
    assert machine.is_time([1, 0], "B", "C")
    assert machine.was_clock({"A": 1})
    assert not machine.was_clock({"A": 2})
    assert machine.was_time([0, 1], "A", "B")


def test_export_and_import() -> None:
    machine = from_(plain(id="one"), "A", "C")
    other = plain(id="one")
    other.import_(machine.export())
    assert (other.string_all(), other.machine_tick) == (machine.string_all(), 1)
    with pytest.raises(InvalidArgs, match="two"):
        plain(id="two").import_(machine.export())


def test_tracer_is_bound_and_detached() -> None:
    machine, tracer = plain(), LastTransition()
    assert machine.bind_tracer(tracer) == "lasttx"
    assert machine.tracers() == [tracer]
    machine.detach_tracer("lasttx")
    assert machine.tracers() == []
    with pytest.raises(BindError):
        machine.bind_tracer("no tracer")  # type: ignore[arg-type]
    with pytest.raises(BindError):
        machine.detach_tracer("lasttx")


def test_handlers_are_bound_and_detached() -> None:
    machine = plain()
    id = machine.bind({"AState": fail()})
    machine.detach(id)
    assert machine.handlers() == []
    assert machine.add("A") == Result.EXECUTED


def test_count_of_active_states() -> None:
    assert len(from_(plain(), "A").active_states("A", "B")) == 1


def test_toggle() -> None:
    machine = plain()
    machine.toggle("A")
    assert machine.is_("A")
    machine.toggle("A", "B")
    assert machine.is_("A", "B")
    machine.toggle("A", "B")
    assert machine.not_("A", "B")


def test_options() -> None:
    parent = plain(id="parent")
    machine = plain(
        parent=parent,
        tags=["x", "y", "x"],
        queue_limit=5,
        log_stack_trace=False,
        log_level=LogLevel.CHANGES,
    )
    assert machine.parent is parent
    assert machine.tags == ("x", "y")
    machine.set_tags(["z"])
    assert machine.tags == ("z",)
    assert (machine.queue_limit, machine.log_level) == (5, LogLevel.CHANGES)
    assert machine.log_stack_trace is False


class Groups0(States):
    A = State()
    B = State()


class Groups1(Groups0):
    C = State()
    D = State()


class GroupsSelf(Groups1):
    E = State()
    F = State()


def test_groups() -> None:
    machine = Machine(GroupsSelf, states=["Exception", *"ABCDEF"])
    machine.set_groups({"Own": ["A", "F"]}, GroupsSelf)
    assert list(machine.groups().items()) == [
        ("Own", [1, 6]),
        ("self", [5, 6]),
        ("Groups1", [3, 4]),
        ("Groups0", [1, 2]),
    ]


def test_can_add() -> None:
    machine = relations()
    assert machine.can_add("A") == Result.CANCELED
    assert machine.can_add("C") == Result.EXECUTED


def test_every_error_has_one_base() -> None:
    with pytest.raises(MachineError):
        plain().add("Unknown")
    assert Time([1, 0]).active_states() == (0,)
