"""Pipes between two machines of a program without an event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from amzmq import pipes
from amzmq.errors import InvalidArgs, StateUnknown
from amzmq.machine import Event, LogLevel, Machine, Result, State, merge
from amzmq.states import BasicStates, ConnectedStates

from .rig import PATIENCE, Told, machine, pair

# bind.


def test_a_bound_state_is_added_when_entered_and_removed_when_left() -> None:
    source, target = pair()
    pipes.bind(source, target, "A")
    source.add("A")
    assert target.is_("A")
    source.remove("A")
    assert target.not_("A")


def test_the_target_may_have_other_names_for_both() -> None:
    source, target = pair()
    told = Told(target)
    pipes.bind(source, target, "A", "B", "C")
    source.add("A")
    source.remove("A")
    assert told.all == ["add B", "remove C"]
    assert target.is_("B")


def test_what_is_removed_is_by_default_what_was_added() -> None:
    source, target = pair()
    told = Told(target)
    pipes.bind(source, target, "A", "B")
    source.add("A")
    source.remove("A")
    assert told.all == ["add B", "remove B"]


def test_arguments_and_the_transition_of_the_source_come_along() -> None:
    source, target = pair()
    told = Told(target)
    source.add("B")
    before = source.time().sum()
    pipes.bind(source, target, "A")
    source.add("A", user=42)
    assert told.args == [{"user": 42}]
    (origin,) = told.sources
    assert (origin.machine_id, origin.time) == ("src", before)


def test_every_activation_arrives_even_if_it_changes_nothing() -> None:
    source, target = pair()
    told = Told(target)
    pipes.bind(source, target, "M", "A")
    for _ in range(3):
        source.add("M")
    assert told.all == ["add A"] * 3
    assert target.tick("A") == 1


def test_what_is_active_at_the_time_of_binding_is_not_carried() -> None:
    source, target = pair()
    source.add("A")
    pipes.bind(source, target, "A")
    assert target.not_("A")


@pytest.mark.parametrize(
    ("bind", "state"), [(pipes.bind_start, "Start"), (pipes.bind_ready, "Ready")]
)
def test_start_and_ready_have_pipes_of_their_own(
    bind: Callable[..., pipes.Pipe], state: str
) -> None:
    source, target = pair()
    bind(source, target)
    pipe = bind(source, target, "A", "B")
    assert pipe.id == f"Bind-{state}-dst-2"
    source.add(state)
    assert target.is_(state, "A")
    target.add("B")
    source.remove(state)
    assert target.active_states() == ["A"]


# bind_many.


def test_many_states_are_bound_by_one_pipe() -> None:
    source, target = pair()
    pipe = pipes.bind_many(source, target, ["A", "B"])
    assert pipe.id == "BindMany-2-dst"
    assert source.handlers() == [pipe.id]
    source.add("A", "B")
    assert target.is_("A", "B")
    source.remove("A")
    assert target.active_states() == ["B"]


def test_many_states_are_paired_by_their_places() -> None:
    source, target = pair()
    pipes.bind_many(source, target, ["A", "B"], ["B", "C"])
    source.add("A")
    assert target.active_states() == ["B"]
    source.add("B")
    assert target.is_("B", "C")


def test_as_many_targets_as_states_are_wanted() -> None:
    source, target = pair()
    with pytest.raises(InvalidArgs, match="2 states, but 1 targets"):
        pipes.bind_many(source, target, ["A", "B"], ["A"])
    with pytest.raises(InvalidArgs, match="twice"):
        pipes.bind_many(source, target, ["A", "A"], ["A", "B"])
    with pytest.raises(InvalidArgs, match="lists of names"):
        pipes.bind_many(source, target, "AB")
    assert source.handlers() == []


# bind_err.


def test_errors_of_the_source_become_errors_of_the_target() -> None:
    source, target = pair()
    pipe = pipes.bind_err(source, target)
    assert pipe.id == "BindErr-dst"
    error = ValueError("x")
    source.add_err(error, args={"path": "/tmp/x"})
    assert target.is_err()
    assert target.err() is error


def test_an_error_state_of_the_target_comes_with_exception() -> None:
    source, target = pair()
    told = Told(target)
    seen: list[BaseException | None] = []
    target.bind({"ErrDiskState": lambda e: seen.append(e.error)})
    pipes.bind_err(source, target, "ErrDisk")
    error = OSError("full")
    source.add_err(error, args={"path": "here"})
    assert set(told.all[0].split()) == {"add", "Exception", "ErrDisk"}
    assert told.args[0]["path"] == "here"
    assert target.is_("ErrDisk", "Exception")
    assert target.err() is error
    assert seen == [error]


def test_an_error_is_not_taken_back() -> None:
    source, target = pair()
    pipes.bind_err(source, target)
    source.add_err(ValueError("x"))
    source.remove("Exception")
    assert target.is_err()


def test_what_a_handler_of_the_source_raises_is_carried_too() -> None:
    source, target = pair()

    def fail(e: Event) -> None:
        raise ValueError("boom")

    source.bind({"AState": fail})
    pipes.bind_err(source, target)
    assert source.add("A") == Result.CANCELED
    assert str(target.err()) == "boom"


def test_a_state_named_like_an_error_brings_exception_also_without_an_error() -> None:
    source, target = pair()
    told = Told(target)
    pipes.bind(source, target, "A", "ErrDisk")
    source.add("A")
    source.remove("A")
    assert told.all == ["add Exception ErrDisk", "remove ErrDisk"]
    assert target.active_states() == ["Exception"]


# bind_connected.


def test_a_connection_is_followed_as_far_as_states_are_given() -> None:
    source = Machine(merge(BasicStates, ConnectedStates), id="src")
    target = machine("dst", "Offline", "Online")
    pipe = pipes.bind_connected(source, target, disconnected="Offline", connected="Online")
    assert pipe.id == "BindConnected-dst"
    source.add("Start")
    assert target.active_states() == ["Offline"]
    source.add("Connecting")
    assert target.active_states() == []
    source.add("Connected")
    assert target.active_states() == ["Online"]
    source.add("Disconnecting")
    assert target.active_states() == []
    assert not source.is_err()


def test_a_connection_with_no_target_at_all_is_a_mistake() -> None:
    source = Machine(ConnectedStates, id="src")
    with pytest.raises(InvalidArgs, match="bind_connected"):
        pipes.bind_connected(source, machine("dst"))


# bind_any.


def test_any_sets_the_target_to_the_active_states_of_the_source() -> None:
    source, target = pair()
    told = Told(target)
    assert pipes.bind_any(source, target).id == "BindAny-dst"
    source.add("A", "B", user=42)
    assert target.is_("A", "B")
    assert told.all == ["set A B"]
    assert told.args == [{"user": 42}]


def test_any_does_not_carry_a_mere_removal() -> None:
    source, target = pair()
    pipes.bind_any(source, target)
    source.add("A", "B")
    source.remove("A")
    assert target.is_("A", "B")
    source.add("C")
    assert set(target.active_states()) == {"B", "C"}


def test_any_wipes_what_only_the_target_has() -> None:
    source, target = pair()
    pipes.bind_any(source, target)
    target.add("C")
    source.add("A")
    assert target.active_states() == ["A"]


def test_any_wants_all_states_of_the_source_in_the_target() -> None:
    source, target = machine("src", "A", "B"), machine("dst", "A")
    with pytest.raises(StateUnknown, match="B"):
        pipes.bind_any(source, target)


def test_any_is_carried_within_the_transition_of_the_source() -> None:
    source, target = pair()
    pipes.bind_any(source, target)
    seen: list[bool] = []
    source.bind({"AnyState": lambda e: seen.append(target.is_("A"))})
    source.add("A")
    assert seen == [True]


# sync.


def test_sync_makes_the_target_as_the_source_is_with_one_add_and_one_remove() -> None:
    source, target = pair()
    source.add("A", "B")
    target.add("C", "Start")
    told = Told(target)
    assert pipes.sync(source, target, ["A", "B", "C"]) == 3
    assert told.all == ["add A B", "remove C"]
    assert set(target.active_states()) == {"A", "B", "Start"}


def test_sync_takes_other_names_too() -> None:
    source, target = pair()
    source.add("A")
    assert pipes.sync(source, target, ["A", "B"], ["B", "C"]) == 2
    assert target.active_states() == ["B"]
    with pytest.raises(InvalidArgs, match="2 states, but 3 targets"):
        pipes.sync(source, target, ["A", "B"], ["A", "B", "C"])
    with pytest.raises(StateUnknown, match="Nowhere"):
        pipes.sync(source, target, ["A"], ["Nowhere"])
    assert pipes.sync(source, target, []) == 0


# Handlers bound by hand.


def test_handlers_may_be_bound_by_hand() -> None:
    source, target = pair()
    source.bind(
        {
            "AState": pipes.add(source, target, "A", "B"),
            "AEnd": pipes.remove(source, target, "A", "B"),
        }
    )
    source.add("A", n=1)
    assert target.is_("B")
    source.remove("A")
    assert target.not_("B")


def test_flat_handlers_skip_what_is_so_already_and_pass_no_arguments() -> None:
    source, target = pair()
    told = Told(target)
    source.bind(
        {
            "MState": pipes.add_flat(source, target, "M", "A"),
            "MEnd": pipes.remove_flat(source, target, "M", "A"),
        }
    )
    source.add("M", n=1)
    source.add("M", n=2)
    assert told.all == ["add A"]
    assert told.args == [{}]
    source.remove("M")
    source.add("M")
    source.set()
    assert told.all == ["add A", "remove A", "add A", "remove A"]


def test_flat_handlers_mutate_within_the_transition_of_the_source() -> None:
    source, target = pair()
    seen: list[bool] = []
    source.bind({"AState": pipes.add_flat(source, target, "A")})
    source.bind({"AState": lambda e: seen.append(target.is_("A"))})
    source.add("A")
    assert seen == [True]


def test_a_handler_needs_a_state() -> None:
    source, target = pair()
    for make in (pipes.add, pipes.add_flat, pipes.remove, pipes.remove_flat):
        with pytest.raises(InvalidArgs, match="the state is empty"):
            make(source, target, "")


def test_a_wrong_name_is_an_error_at_the_call_on_either_side() -> None:
    source, target = machine("src", "A"), machine("dst", "B")
    with pytest.raises(StateUnknown, match="dst"):
        pipes.bind(source, target, "A")
    with pytest.raises(StateUnknown, match="src"):
        pipes.bind(source, target, "B", "B")
    with pytest.raises(StateUnknown, match="Nowhere"):
        pipes.bind_err(source, target, "Nowhere")
    assert source.handlers() == []


# The source is neither blocked nor canceled.


def test_a_target_that_refuses_does_not_cancel_the_source() -> None:
    source = machine("src")
    target = Machine({"A": State(require="Never"), "Never": State()}, id="dst")
    pipes.bind(source, target, "A")
    assert source.add("A") == Result.EXECUTED
    assert target.not_("A")
    assert not source.is_err()


def test_a_target_whose_handlers_raise_keeps_the_error_to_itself() -> None:
    source, target = pair()

    def fail(e: Event) -> None:
        raise ValueError("boom")

    target.bind({"AState": fail})
    pipes.bind(source, target, "A")
    assert source.add("A") == Result.EXECUTED
    assert source.active_states() == ["A"]
    assert target.active_states() == ["Exception"]


def test_the_transition_of_the_source_is_over_when_the_target_changes() -> None:
    source, target = pair()
    running: list[object] = []
    target.bind({"AState": lambda e: running.append(source.transition())})
    pipes.bind(source, target, "A")
    source.add("A")
    assert running == [None]


def test_the_target_changes_after_the_queue_of_the_source_is_empty() -> None:
    source, target = pair()
    seen: list[tuple[str, list[str]]] = []
    target.bind({"AState": lambda e: seen.append(("A", source.active_states()))})
    pipes.bind(source, target, "A")
    source.bind({"AState": lambda e: source.add("B")})
    source.add("A")
    assert seen == [("A", ["B", "A"])]


def test_an_error_of_the_mutation_itself_is_added_to_the_source() -> None:
    source, target = pair()
    target.panic_to_exception = False

    def fail(e: Event) -> None:
        raise ValueError("boom")

    target.bind({"AState": fail})
    pipes.bind(source, target, "A")
    assert source.add("A") == Result.EXECUTED
    error = source.err()
    assert str(error) == "boom"
    assert error is not None
    assert error.__notes__ == ["pipe from src to dst: add A"]
    assert source.is_("A", "Exception")


def test_pipes_that_fail_on_each_others_errors_come_to_an_end() -> None:
    source, first, second, third = (machine(id) for id in ("src", "one", "two", "three"))

    def fail(e: Event) -> None:
        raise ValueError("boom")

    for target in (first, second):
        target.panic_to_exception = False
        target.bind({"ExceptionState": fail})
        pipes.bind_err(source, target)
    pipes.bind_err(source, third)
    source.add_err(OSError("the first one"))
    # One that fails on the first error, and then each on the failure of the other.
    assert third.is_err()
    assert source.tick("Exception") == third.tick("Exception") == 9


# Order.


def test_changes_arrive_in_order_across_pipes() -> None:
    source, target = pair()
    told = Told(target)
    pipes.bind(source, target, "B")
    pipes.bind_many(source, target, ["A", "M"])

    def go_on(e: Event) -> None:
        source.add("B")
        source.add("M")
        source.remove("A")

    source.bind({"AState": go_on})
    source.add("A")
    assert told.all == ["add A", "add B", "add M", "remove A"]


def test_changes_made_by_many_threads_arrive_in_the_order_of_the_source() -> None:
    source, target = pair()
    told = Told(target)
    order: list[object] = []
    source.bind({"MState": lambda e: order.append(e.args["n"])})
    pipes.bind(source, target, "M")

    def work(thread: int) -> None:
        for n in range(100):
            source.add("M", n=(thread, n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(order) == 400
    assert [args["n"] for args in told.args] == order


def test_a_chain_of_pipes_carries_to_its_end() -> None:
    machines = [machine(str(n)) for n in range(5)]
    for left, right in zip(machines, machines[1:], strict=False):
        pipes.bind(left, right, "A")
    machines[0].add("A")
    assert all(each.is_("A") for each in machines)
    machines[0].remove("A")
    assert all(each.not_("A") for each in machines)


def test_two_machines_piped_both_ways_settle() -> None:
    left, right = machine("left"), machine("right")
    pipes.bind(left, right, "A")
    pipes.bind(right, left, "A")
    for one in (left, right):
        one.add("A")
        assert left.is_("A")
        assert right.is_("A")
        one.remove("A")
        assert left.not_("A")
        assert right.not_("A")
    assert left.clock() == right.clock()


# Ids and the log.


def test_the_same_pipe_may_be_bound_again() -> None:
    source, target = pair()
    first = pipes.bind(source, target, "A")
    second = pipes.bind(source, target, "A", "B")
    assert (first.id, second.id) == ("Bind-A-dst", "Bind-A-dst-2")
    source.add("A")
    assert target.is_("A", "B")


def test_pipes_of_a_machine_can_be_listed() -> None:
    source, target = pair()
    pipe, back = pipes.bind(source, target, "A"), pipes.bind(target, source, "B")
    assert pipes.pipes_of(source) == [pipe, back]
    assert pipes.pipes_of(target) == [pipe, back]
    assert repr(pipe) == "<Pipe Bind-A-dst from src to dst>"


def test_both_logs_tell_of_a_pipe() -> None:
    source, target = pair()
    lines: list[str] = []

    def note(level: LogLevel, line: str) -> None:
        lines.append(line)

    source.set_log(LogLevel.OPS, note)
    target.set_log(LogLevel.OPS, note)
    pipes.bind(source, target, "A", "B")
    assert {
        "[src] [pipe-out:add] A to dst",
        "[src] [pipe-out:remove] A to dst",
        "[dst] [pipe-in:add] B from src",
        "[dst] [pipe-in:remove] B from src",
    } <= set(lines)
    target.dispose()
    assert "[src] [pipe:gc] dst" in lines
