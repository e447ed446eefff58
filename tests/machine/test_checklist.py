"""The reference's own tests, one by one (spec machine 11); README.md maps the names.

The states of a plain machine are A B C D; those of `relations()` are the reference's Rels. "From
X" is a first set of X.
"""

from __future__ import annotations

import itertools
import threading

import pytest

from amzmq.errors import BindError, InvalidArgs, MachineError, SchemaError, StateUnknown
from amzmq.machine import (
    LastTransition,
    LogLevel,
    Machine,
    MutationType,
    Result,
    State,
    States,
    Time,
    log_args,
)
from amzmq.machine.compiled import compile_schema
from amzmq.machine.resolver import sort_states
from tests.machine.helpers import PATIENCE, fail, in_order, logged, plain, recorded, relations


def machine_of(**states: State) -> Machine:
    return Machine(states)


def from_(machine: Machine, *states: str) -> Machine:
    machine.set(*states)
    return machine


# States and relations.


def test_single_state_active() -> None:
    assert from_(plain(), "A").active_states() == ["A"]


def test_multiple_states_active() -> None:
    machine = from_(plain(), "A")
    machine.add("B")
    assert machine.is_("A", "B")


def test_all_state_names_are_exposed() -> None:
    assert plain().state_names == ("A", "B", "C", "D", "Exception")


def test_set_add_and_remove() -> None:
    machine = from_(plain(), "A")
    machine.set("B")
    assert machine.active_states() == ["B"]
    machine.add("C")
    machine.remove("C")
    assert machine.active_states() == ["B"]


def test_unknown_state_raises() -> None:
    with pytest.raises(StateUnknown, match="missing states: E not defined in schema for"):
        plain().set("E")


def test_relations_of_a_state_and_between_states() -> None:
    machine = machine_of(A=State(add="B", require="C"), B=State(), C=State())
    assert machine.relations_of("A") == ["add", "require"]
    assert machine.relations_between("A", "B") == ["add"]
    ordered = machine_of(A=State(add="B", after="B"), B=State())
    assert ordered.relations_between("A", "B") == ["add", "after"]
    with pytest.raises(StateUnknown):
        machine.relations_between("A", "Unknown")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("C", "AExit BExit CEnter AC BC AnyEnter AEnd BEnd CState AnyState"),
        ("DC", "AExit BExit DEnter CEnter AD AC BD BC AnyEnter AEnd BEnd DState CState AnyState"),
        ("A", "BExit AA BA AnyEnter BEnd AnyState"),
    ],
)
def test_transitions_from_two_states(target: str, expected: str) -> None:
    machine = from_(plain(), "A", "B")
    calls = recorded(machine)
    machine.set(*target)
    assert calls == expected.split()


def test_single_to_multi_state_transition() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine)
    machine.set("B", "C")
    assert calls == "AExit BEnter CEnter AB AC AnyEnter AEnd BState CState AnyState".split()


def test_after_relation_when_entering() -> None:
    machine = machine_of(A=State(), C=State(after="D"), D=State())
    from_(machine, "A")
    calls = recorded(machine)
    machine.set("C", "D")
    assert in_order(calls, "DEnter", "CEnter", "AD", "AC")


def test_after_relation_when_exiting() -> None:
    machine = machine_of(A=State(after="B"), B=State(), C=State(), D=State())
    from_(machine, "A", "B")
    calls = recorded(machine)
    machine.set("D", "C")
    assert in_order(calls, "BExit", "AExit")
    assert {"AD", "AC", "BD", "BC"} <= set(calls)


def test_require_order() -> None:
    schema = {
        "A": State(auto=True, require=["B", "C"]),
        "B": State(auto=True, require="D"),
        "C": State(auto=True),
        "D": State(),
    }
    machine = Machine(schema)
    calls = recorded(machine)
    machine.add("D")
    assert calls.index("DState") < calls.index("BState") < calls.index("AState")
    assert calls.index("CState") < calls.index("AState")
    assert (calls.count("AnyEnter"), calls.count("AnyState")) == (2, 2)
    assert all(calls.count(name) == 1 for name in calls if "Any" not in name)
    compiled = compile_schema(schema)
    names = [
        "".join(compiled.names[at] for at in sort_states(compiled, order))
        for order in itertools.permutations(range(4))
    ]
    assert set(names) == {"DBCA"}


def test_remove_relation() -> None:
    machine = from_(machine_of(C=State(remove="D"), D=State()), "D")
    machine.add("C")
    assert machine.active_states() == ["C"]


def test_remove_relation_simultaneous() -> None:
    machine = from_(machine_of(C=State(remove="D"), D=State()), "D")
    lines = logged(machine)
    assert machine.set("C", "D") == Result.CANCELED
    assert "[rel:remove] D by C" in lines
    assert machine.active_states() == ["D"]


@pytest.mark.parametrize("change", ["set", "add"])
def test_remove_relation_cross_blocking(change: str) -> None:
    machine = from_(machine_of(C=State(remove="D"), D=State(remove="C")), "D")
    for state in "CDC":
        assert getattr(machine, change)(state) == Result.EXECUTED
        assert machine.active_states() == [state]


def test_add_relation() -> None:
    machine = machine_of(A=State(remove="D"), C=State(add="D"), D=State())
    machine.set("C")
    assert set(machine.active_states()) == {"C", "D"}
    machine.set("A", "C")
    assert set(machine.active_states()) == {"A", "C"}


def test_require_relation() -> None:
    machine = machine_of(A=State(), C=State(require="D"), D=State())
    machine.set("C", "D")
    assert set(machine.active_states()) == {"C", "D"}
    from_(machine, "A")
    lines = logged(machine)
    machine.set("C", "A")
    assert machine.active_states() == ["A"]
    assert "[reject] C(-D)" in lines


def test_remove_of_an_implied_multi_state() -> None:
    machine = machine_of(A=State(multi=True, add="B", require="C"), B=State(require="C"), C=State())
    machine.set("A", "B", "C")
    machine.remove("B")
    assert set(machine.active_states()) == {"A", "C"}


def test_regression_remove_cross_blocked_by_implied() -> None:
    machine = machine_of(A=State(remove="B"), B=State(remove="A"), Z=State(add="B"))
    machine.set("Z")
    assert set(machine.active_states()) == {"Z", "B"}


def test_regression_implied_block_by_being_removed() -> None:
    machine = machine_of(
        Dry=State(remove="Wet"),
        Water=State(add="Wet", remove="Dry"),
        Wet=State(require="Water"),
    )
    machine.set("Dry")
    machine.set("Water")
    assert set(machine.active_states()) == {"Water", "Wet"}


# The queue.


def test_queue() -> None:
    machine = from_(plain(), "A")
    results: list[Result] = []
    calls = recorded(machine, do={"BEnter": lambda e: results.append(e.machine.add("C"))})
    machine.set("B")
    assert results == [4]
    assert (calls.count("AnyEnter"), calls.count("AnyState")) == (2, 2)
    assert all(calls.count(name) == 1 for name in calls if "Any" not in name)
    assert machine.active_states() == ["C", "B"]


def test_queue_can_be_checked() -> None:
    machine = plain()
    seen: list[object] = []

    def state(event: object) -> None:
        for name in "BCD":
            machine.add(name)
        place = machine.is_queued(MutationType.ADD, "C")
        seen.extend([machine.queue_len, place and place.at])
        seen.extend([machine.will_be("C"), machine.will_be_removed("C")])

    machine.bind({"AState": state})
    machine.add("A")
    assert seen == [3, 1, True, False]


def test_nested_mutations_merge() -> None:
    machine = from_(plain(), "B")
    lengths: list[int] = []

    def state(event: object) -> None:
        for _ in range(3):
            machine.add("B")
        lengths.append(machine.queue_len)
        for _ in range(2):
            machine.remove("B")
        lengths.append(machine.queue_len)

    machine.bind({"AState": state})
    machine.add("A")
    assert lengths == [1, 2]
    assert machine.active_states() == ["A"]


# Negotiation and auto states.


@pytest.mark.parametrize(("change", "targets"), [("set", "(D)"), ("add", "(D A)")])
def test_negotiation_cancels(change: str, targets: str) -> None:
    machine = from_(plain(), "A")
    machine.bind({"DEnter": lambda e: False})
    lines = logged(machine)
    assert getattr(machine, change)("D") == Result.CANCELED
    assert machine.active_states() == ["A"]
    assert f"[cancel] {targets} by DEnter" in lines


def test_negotiation_cancels_a_removal() -> None:
    machine = from_(plain(), "A")
    machine.bind({"AExit": lambda e: False})
    lines = logged(machine)
    assert machine.remove("A") == Result.CANCELED
    assert "[cancel] () by AExit" in lines


def test_auto_states() -> None:
    machine = machine_of(A=State(), B=State(auto=True, require="A"))
    lines = logged(machine)
    assert machine.add("A") == Result.EXECUTED
    assert set(machine.active_states()) == {"A", "B"}
    assert "[auto] B" in lines


@pytest.mark.parametrize("name", ["Heartbeat", "Healthcheck"])
def test_health_states_trigger_no_auto_states(name: str) -> None:
    machine = Machine({name: State(), "Auto": State(auto=True)})
    machine.add(name)
    assert machine.active_states() == [name]


def test_partial_auto_states() -> None:
    machine = machine_of(A=State(auto=True), B=State(auto=True, require="C"), C=State(), D=State())
    lines = logged(machine)
    machine.add("D")
    assert set(machine.active_states()) == {"A", "D"}
    assert "[auto_] +A" in lines


def auto_machine() -> Machine:
    return machine_of(A=State(auto=True), B=State(auto=True, add="D"), C=State(), D=State())


def test_partial_auto_states_by_cross_handler() -> None:
    machine = auto_machine()
    machine.bind({"CB": lambda e: False})
    machine.add("C")
    assert set(machine.active_states()) == {"A", "C"}


def test_partial_auto_states_by_enter() -> None:
    machine = auto_machine()
    machine.bind({"BEnter": lambda e: False})
    machine.add("C")
    assert set(machine.active_states()) == {"A", "C"}


def test_partial_auto_states_by_self_handler() -> None:
    machine = auto_machine()
    machine.bind({"CC": lambda e: False})
    machine.add("C")
    assert machine.active_states() == ["C"]


def test_partial_auto_without_the_required() -> None:
    machine = machine_of(
        A=State(),
        B=State(),
        C=State(auto=True, require="B"),
        D=State(auto=True, require="B"),
    )
    lines = logged(machine)
    machine.add("A")
    assert machine.active_states() == ["A"]
    assert "[cancel:reject] C D" in lines


def test_handler_sees_the_state_of_things() -> None:
    machine = from_(plain(), "A")
    seen: list[object] = []

    def enter(event: object) -> None:
        tx = machine.transition()
        assert tx is not None
        seen.extend([machine.active_states(), tx.target, tx.called, str(tx).splitlines()[1]])

    def state(event: object) -> None:
        tx = machine.transition()
        assert tx is not None
        seen.extend([str(tx.time_index_before), str(tx.time_index_after), tx.time_index_diff()])

    machine.bind({"DEnter": enter, "DState": state})
    machine.add("D")
    assert seen == [["A"], ["D", "A"], ["D"], "[add] D", "A", "A D", (["D"], [])]


def test_cross_handlers() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine)
    machine.add("B")
    assert "AB" in calls
    assert "BA" not in calls


def test_cross_handler_cancels() -> None:
    machine = from_(plain(), "A")
    machine.bind({"AB": lambda e: False})
    assert machine.add("B") == Result.CANCELED


def test_attributes_are_handlers() -> None:
    class Holder:
        pass

    holder, calls = Holder(), []
    holder.AEnd = lambda e: calls.append("AEnd")  # type: ignore[attr-defined]
    holder.BEnd = None  # type: ignore[attr-defined]
    machine = from_(plain(), "A", "B")
    machine.bind(holder)
    machine.set("C")
    assert calls == ["AEnd"]


def test_self_handlers_can_cancel() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine, {"AA": False})
    lines = logged(machine)
    machine.set("A", "B")
    assert calls == ["BEnter", "AA"]
    assert "[cancel:self] (A B) by AA" in lines


def test_self_handlers_order() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine)
    machine.set("A", "B")
    names = ["BEnter", "AA", "AB", "AnyEnter", "BState", "AnyState"]
    assert calls == names


def test_self_handlers_of_all_unchanged_states() -> None:
    machine = from_(plain(), "A")
    calls = recorded(machine)
    machine.add("B")
    machine.add("A")
    assert (calls.count("AA"), calls.count("BB")) == (2, 1)


# Errors.


def test_partial_negotiation_panic() -> None:
    machine = from_(plain(), "A")
    machine.bind({"BEnter": fail()})
    lines = logged(machine)
    assert machine.add("B") == Result.CANCELED
    assert set(machine.active_states()) == {"A", "Exception"}
    assert "[cancel] (B A) by recover" in lines


def test_partial_final_panic() -> None:
    machine = plain()
    machine.bind({"BState": fail("BState broke")})
    lines = logged(machine)
    assert machine.add("A", "B", "C") == Result.CANCELED
    assert set(machine.active_states()) == {"A", "Exception"}
    assert "[cancel] (A B C) by recover" in lines
    assert str(machine.err()) == "BState broke"


def test_add_err_and_the_guards() -> None:
    machine = plain()
    machine.add_err_state("B", ValueError("one"))
    assert machine.is_("B", "Exception")
    with machine.panic_to_err_state("C"):
        raise ValueError("two")
    assert machine.is_("C")
    assert str(machine.err()) == "two"
    with machine.panic_to_err():
        raise ValueError("three")
    assert machine.tick("Exception") == 5


def test_handler_timeout() -> None:
    machine = plain(handler_timeout=0.0)
    machine.bind({"AState": lambda e: sum(range(1000))})
    assert machine.add("A") == Result.CANCELED


# Waiting.


def test_when_is_released_from_another_thread() -> None:
    machine = plain()
    wait = machine.when("B", "C")

    def fork() -> None:
        machine.add("B")
        machine.add("C")

    thread = threading.Thread(target=fork)
    thread.start()
    assert wait.wait(PATIENCE)
    thread.join(PATIENCE)


def test_when_of_two_waiters() -> None:
    machine = plain()
    waits = [machine.when("A", "B"), machine.when("A", "B")]
    machine.add("A", "B")
    assert [wait.done() for wait in waits] == [True, True]


def test_when_active_already() -> None:
    assert from_(plain(), "A").when("A").done()


def test_overlapping_waits_do_not_interfere() -> None:
    machine = plain()
    ab, bc, a = machine.when("A", "B"), machine.when("B", "C"), machine.when("A", "A")
    machine.add("A")
    assert [ab.done(), bc.done(), a.done()] == [False, False, True]
    machine.add("B")
    assert [ab.done(), bc.done()] == [True, False]
    machine.add("C")
    assert bc.done()


def test_when_not() -> None:
    machine = from_(plain(), "B", "C")
    both, one, other = machine.when_not("B", "C"), machine.when_not("B"), machine.when_not("A")
    assert other.done()
    machine.remove("B")
    assert (both.done(), one.done()) == (False, True)
    machine.remove("C")
    assert both.done()
    assert not machine.is_err()


def test_state_contexts() -> None:
    machine = plain()
    kept = []
    machine.bind({"AState": lambda e: kept.append(machine.state_ctx("A"))})
    inactive = machine.state_ctx("A")
    machine.add("A")
    assert inactive.expired
    assert not kept[0].expired
    machine.remove("A")
    assert kept[0].expired


def test_time_and_clock() -> None:
    machine = Machine({"A": State(), "B": State(multi=True), "C": State(), "D": State()})
    for states in ("AB", "AB", "ABC"):
        machine.add(*states)
    machine.set("D")
    machine.add("D", "C")
    machine.remove("B", "C")
    assert machine.clock() == {"A": 2, "B": 6, "C": 4, "D": 1, "Exception": 0}
    before = machine.time()
    machine.add("A", "B")
    assert machine.time("A", "B", "C", "D") == (3, 7, 4, 1)
    machine.add("C")
    assert machine.tick("C") == 5
    assert machine.time().sum() == 16
    assert machine.time().after(before, or_equal=True)


def test_ctx_releases_waits_and_nothing_stays() -> None:
    machine = plain()
    ctx = machine.state_ctx("D")
    waits = [
        machine.when_time({"A": 9, "B": 9}, ctx=ctx),
        machine.when_ticks("A", 9, ctx=ctx),
        machine.when_args("A", ctx=ctx, user=1),
        machine.when("C", ctx=ctx),
        machine.when_not("Exception", "A", ctx=ctx),
    ]
    assert [wait.done() for wait in waits] == [False, False, False, False, True]
    machine.add("D")
    machine.add("A")
    assert all(wait.done() for wait in waits)
    assert machine._subs.pending == machine._subs.always == machine._subs.watched == 0
    with pytest.raises(InvalidArgs):
        machine.when_time({})


def test_when_args() -> None:
    machine = plain()
    wait = machine.when_args("B", user=1, name="x")
    machine.add("B", user=2, name="x")
    machine.remove("B")
    assert not wait.done()
    machine.add("B", user=1, name="x", more=True)
    assert wait.done()


def test_when_time() -> None:
    machine = Machine({"A": State(multi=True), "B": State(multi=True)})
    machine.add("A", "B")
    wait, later = machine.when_time({"A": 5, "B": 2}), machine.when_time({"A": 9, "B": 2})
    machine.add("A", "B")
    assert not wait.done()
    machine.add("A")
    assert wait.done()
    machine.add("A")
    assert not later.done()
    machine.add("A")
    assert later.done()


def test_equal_waits_are_one_object() -> None:
    machine = from_(plain(), "A")
    assert machine.when("B", "C") is machine.when("C", "B")
    assert machine.when_not("A") is machine.when_not("A")
    assert machine.when_time({"B": 3}) is machine.when_time({"B": 3})
    assert machine.when_args("B", x=1) is machine.when_args("B", x=1)


def test_when_queue_ends() -> None:
    machine = plain()
    kept = []
    machine.bind({"AState": lambda e: kept.append((machine.when_queue_ends(), machine.add("B")))})
    machine.bind({"BState": lambda e: kept.append(kept[0][0].done())})
    machine.add("A")
    assert kept[0][0].done()
    assert kept[1] is False


def test_when_queue() -> None:
    machine = plain()
    seen: list[bool] = []

    def state(event: object) -> None:
        results = [machine.add(name) for name in "BCD"]
        wait = machine.when_queue(results[-1])
        wait.add_done_callback(lambda: seen.append(machine.is_(*"ABCD")))

    machine.bind({"AState": state})
    machine.add("A")
    assert seen == [True]


def test_when_query() -> None:
    machine = from_(plain(), "A")
    wait = machine.when_query(lambda clock: clock["A"] > 0)
    assert not wait.done()
    machine.add("B")
    assert wait.done()


# The rest of the machine.


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
