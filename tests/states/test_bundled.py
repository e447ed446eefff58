"""The bundled schemas: their states in order, their definitions, and what these amount to."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from amzmq.errors import InvalidArgs
from amzmq.machine import CHECK_ARGS, CheckArgs, Machine, Result, State, StateCtx, States, merge
from amzmq.states import (
    BasicStates,
    ConnectedStates,
    ConnPoolStates,
    DisposedArgHandler,
    DisposedHandlers,
    DisposedStates,
    add_err_connecting,
)

PATIENCE = 10.0

GROUP = ("Connecting", "Connected", "Disconnecting", "Disconnected")


def others(state: str) -> list[str]:
    return [name for name in GROUP if name != state]


# As a machine has them: a state that is in its own remove was dropped from it.
SETS: list[tuple[type[States], dict[str, State]]] = [
    (
        BasicStates,
        {
            "Exception": State(multi=True),
            "ErrNetwork": State(multi=True, add="Exception", require="Exception"),
            "ErrHandlerTimeout": State(multi=True, add="Exception", require="Exception"),
            "Start": State(),
            "Ready": State(require="Start"),
            "Healthcheck": State(multi=True),
            "Heartbeat": State(),
        },
    ),
    (
        ConnectedStates,
        {
            "ErrConnecting": State(require="Exception"),
            "Connecting": State(require="Start", remove=others("Connecting")),
            "Connected": State(require="Start", remove=others("Connected")),
            "Disconnecting": State(remove=others("Disconnecting")),
            "Disconnected": State(auto=True, remove=others("Disconnected")),
            "Exception": State(multi=True),
        },
    ),
    (
        ConnPoolStates,
        {
            "ErrConnecting": State(require="Exception"),
            "Connecting": State(require="Start", remove="Disconnecting"),
            "Connected": State(require="Start", remove="Disconnected"),
            "ConnectedFully": State(require="Connected", remove="Disconnected"),
            "Disconnecting": State(remove=["ConnectedFully", "Connected", "Connecting"]),
            "Disconnected": State(remove=["Connecting", "ConnectedFully", "Disconnecting"]),
            "Exception": State(multi=True),
        },
    ),
    (
        DisposedStates,
        {
            "Exception": State(multi=True),
            "RegisterDisposal": State(multi=True),
            # Start is not in the schema, so nothing is left of it.
            "Disposing": State(remove="Exception"),
            "Disposed": State(remove=["Exception", "Disposing"]),
        },
    ),
]

with_each_set = pytest.mark.parametrize(
    ("states", "schema"), SETS, ids=[states.__name__ for states, _ in SETS]
)


@with_each_set
def test_names_are_in_their_order(states: type[States], schema: dict[str, State]) -> None:
    assert states.names() == tuple(schema)
    assert Machine(states).state_names == tuple(schema)


@with_each_set
def test_definitions_are_those_of_the_reference(
    states: type[States], schema: dict[str, State]
) -> None:
    assert Machine(states).schema == schema


@with_each_set
def test_schema_does_not_contradict_itself(states: type[States], schema: dict[str, State]) -> None:
    machine = Machine(states)
    assert not machine.is_err()
    assert machine.err() is None


@with_each_set
def test_every_set_goes_with_the_basic_one(states: type[States], schema: dict[str, State]) -> None:
    machine = Machine(merge(BasicStates, states))
    assert not machine.is_err()
    assert machine.has(*BasicStates.names(), *schema)
    assert machine.add("Start") == Result.EXECUTED


# Basic.


def test_ready_is_only_possible_after_start() -> None:
    machine = Machine(BasicStates)
    assert machine.add("Ready") == Result.CANCELED
    assert machine.add("Start", "Ready") == Result.EXECUTED
    machine.remove("Start")
    assert machine.not_("Start", "Ready")


@pytest.mark.parametrize("state", ["ErrNetwork", "ErrHandlerTimeout"])
def test_an_error_state_brings_exception_and_leaves_with_it(state: str) -> None:
    machine = Machine(BasicStates)
    assert machine.add(state) == Result.EXECUTED
    assert machine.is_(state, "Exception")
    machine.add_err_state(state, OSError("cable"))
    assert (machine.tick(state), machine.tick("Exception")) == (3, 3)
    machine.remove("Exception")
    assert machine.not_(state, "Exception")


@pytest.mark.parametrize("signal", ["Healthcheck", "Heartbeat"])
def test_health_signals_wake_no_auto_states(signal: str) -> None:
    machine = Machine({**BasicStates.schema(), "Awake": State(auto=True)})
    machine.add(signal)
    assert machine.not_("Awake")
    machine.add("Start")
    assert machine.is_("Awake")


def test_healthcheck_counts_and_heartbeat_does_not() -> None:
    machine = Machine(BasicStates)
    for _ in range(3):
        machine.add("Healthcheck")
        machine.add("Heartbeat")
    assert (machine.tick("Healthcheck"), machine.tick("Heartbeat")) == (5, 1)


# Connected.


def started(*sets: type[States]) -> Machine:
    machine = Machine(merge(BasicStates, *sets), id="m")
    machine.add("Start")
    return machine


def test_a_machine_starts_out_disconnected() -> None:
    assert started(ConnectedStates).is_("Disconnected")


@pytest.mark.parametrize("state", GROUP)
def test_the_states_of_a_connection_exclude_each_other(state: str) -> None:
    for before in others(state):
        machine = started(ConnectedStates)
        machine.add(before)
        assert machine.add(state) == Result.EXECUTED
        assert machine.active_states(*GROUP) == [state]


def test_a_connection_ends_with_start_and_is_disconnected_then() -> None:
    machine = started(ConnectedStates)
    machine.add("Connected")
    machine.remove("Start")
    assert machine.active_states(*GROUP) == ["Disconnected"]
    assert machine.add("Connecting") == Result.CANCELED


# ConnPool.


def test_a_pool_goes_on_connecting_while_it_is_connected() -> None:
    pool = started(ConnPoolStates)
    pool.add("Disconnected")
    assert pool.add("Connecting") == Result.CANCELED
    pool.remove("Disconnected")
    pool.add("Connecting")
    pool.add("Connected")
    assert pool.is_("Connecting", "Connected")


def test_a_pool_is_fully_connected_only_while_it_is_connected() -> None:
    pool = started(ConnPoolStates)
    assert pool.add("ConnectedFully") == Result.CANCELED
    pool.add("Connected")
    assert pool.add("ConnectedFully") == Result.EXECUTED
    pool.remove("Connected")
    assert pool.not_("ConnectedFully")


def test_a_pool_that_disconnects_lets_go_of_everything() -> None:
    pool = started(ConnPoolStates)
    pool.add("Connecting", "Connected", "ConnectedFully")
    pool.add("Disconnecting")
    assert pool.active_states(*ConnPoolStates.names()) == ["Disconnecting"]
    pool.add("Disconnected")
    assert pool.active_states(*ConnPoolStates.names()) == ["Disconnected"]


def test_connected_and_disconnected_replace_each_other() -> None:
    pool = started(ConnPoolStates)
    pool.add("Disconnected")
    pool.set("Start", "Connected")
    assert pool.active_states(*ConnPoolStates.names()) == ["Connected"]


@pytest.mark.parametrize("states", [ConnectedStates, ConnPoolStates])
def test_a_failed_connection_is_told_from_other_errors(states: type[States]) -> None:
    machine = started(states)
    cause = OSError("no route")
    result = add_err_connecting(machine, cause, args={"addr": "somewhere"})
    assert result == Result.EXECUTED
    assert machine.is_("ErrConnecting", "Exception")
    error = machine.err()
    assert isinstance(error, ConnectionError)
    assert str(error) == "error connecting: no route"
    assert error.__cause__ is cause


# Disposed.


def disposable(**options: Any) -> Machine:
    schema = merge(BasicStates, DisposedStates)
    machine = Machine(schema, id="m", handlers=DisposedHandlers(), **options)
    machine.add("Start")
    return machine


def test_callbacks_run_in_order_and_the_machine_is_disposed_after_them() -> None:
    machine = disposable()
    calls: list[tuple[str, str, bool, bool]] = []

    def note(name: str) -> Any:
        def callback(machine_id: str, ctx: StateCtx) -> None:
            calls.append((name, f"{machine_id}.{ctx.state}", ctx.expired, machine.is_disposed))

        return callback

    for name in ("first", "second"):
        assert machine.add("RegisterDisposal", args={DisposedArgHandler: note(name)}) == (
            Result.EXECUTED
        )
    assert machine.add("Disposing") == Result.EXECUTED
    assert machine.when_disposed().wait(PATIENCE)
    assert calls == [
        ("first", "m.Disposing", False, False),
        ("second", "m.Disposing", False, False),
    ]


def test_without_callbacks_disposing_ends_the_machine_all_the_same() -> None:
    machine = disposable()
    machine.add("Disposing")
    assert machine.when_disposed().wait(PATIENCE)


def test_a_callback_may_block_while_the_machine_goes_on() -> None:
    machine = disposable(handler_timeout=PATIENCE)
    go, threads = threading.Event(), []

    def wait(machine_id: str, ctx: StateCtx) -> None:
        threads.append(threading.current_thread())
        assert go.wait(PATIENCE)

    machine.add("RegisterDisposal", args={DisposedArgHandler: wait})
    assert machine.add("Disposing") == Result.EXECUTED
    assert machine.add("Heartbeat") == Result.EXECUTED
    assert machine.not_("Start", "Disposed")
    go.set()
    assert machine.when_disposed().wait(PATIENCE)
    assert threads != [threading.current_thread()]


def test_a_coroutine_function_needs_no_loop_of_the_program() -> None:
    machine = disposable()
    calls = []

    async def callback(machine_id: str, ctx: StateCtx) -> None:
        await asyncio.sleep(0)
        calls.append(machine_id)

    machine.add("RegisterDisposal", args={DisposedArgHandler: callback})
    machine.add("Disposing")
    assert machine.when_disposed().wait(PATIENCE)
    assert calls == ["m"]


async def test_on_an_event_loop_callbacks_run_there_and_may_be_awaited() -> None:
    machine = disposable()
    loops = []
    go = asyncio.Event()

    async def slow(machine_id: str, ctx: StateCtx) -> None:
        await go.wait()
        loops.append(asyncio.get_running_loop())

    def quick(machine_id: str, ctx: StateCtx) -> None:
        loops.append(asyncio.get_running_loop())

    for callback in (slow, quick):
        machine.add("RegisterDisposal", args={DisposedArgHandler: callback})
    machine.add("Disposing")
    assert machine.is_("Disposing")
    go.set()
    await asyncio.wait_for(_done(machine), PATIENCE)
    assert loops == [asyncio.get_running_loop()] * 2


async def test_callbacks_of_a_loop_run_there_whichever_thread_disposes() -> None:
    machine = disposable()
    threads = []

    def callback(machine_id: str, ctx: StateCtx) -> None:
        threads.append(threading.current_thread())

    machine.add("RegisterDisposal", args={DisposedArgHandler: callback})
    await asyncio.to_thread(machine.add, "Disposing")
    await asyncio.wait_for(_done(machine), PATIENCE)
    assert threads == [threading.current_thread()]


async def _done(machine: Machine) -> None:
    await machine.when_disposed()
    await asyncio.sleep(0)  # the task that ran the callbacks ends


def test_a_callback_that_fails_does_not_keep_the_others_from_running() -> None:
    machine = disposable()
    calls = []

    def fail(machine_id: str, ctx: StateCtx) -> None:
        raise OSError("file gone")

    machine.add("RegisterDisposal", args={DisposedArgHandler: fail})
    machine.add("RegisterDisposal", args={DisposedArgHandler: lambda *_: calls.append("ran")})
    machine.add("Disposing")
    assert machine.when_disposed().wait(PATIENCE)
    assert calls == ["ran"]
    assert str(machine.err()) == "file gone"


def test_callbacks_stop_when_disposing_is_taken_back() -> None:
    machine = disposable()
    ran: list[str] = []
    first_ran = threading.Event()

    def regret(machine_id: str, ctx: StateCtx) -> None:
        machine.remove("Disposing")
        first_ran.set()

    machine.add("RegisterDisposal", args={DisposedArgHandler: regret})
    machine.add("RegisterDisposal", args={DisposedArgHandler: lambda *_: ran.append("second")})
    machine.add("Disposing")
    assert first_ran.wait(PATIENCE)
    for thread in threading.enumerate():
        if thread.name == "m.Disposing":
            thread.join(PATIENCE)
    assert ran == []
    assert not machine.is_disposed
    assert machine.add("Start") == Result.EXECUTED


@pytest.mark.parametrize("args", [{}, {DisposedArgHandler: "close"}])
def test_what_is_no_callback_is_refused_with_an_error(args: dict[str, object]) -> None:
    machine = disposable()
    assert machine.add("RegisterDisposal", args=args) == Result.CANCELED
    assert machine.not_("RegisterDisposal")
    assert isinstance(machine.err(), InvalidArgs)
    assert machine.is_err()


def test_asking_whether_it_would_be_refused_is_no_error() -> None:
    machine = disposable()
    check = CheckArgs()
    assert machine.can_add("RegisterDisposal", args={CHECK_ARGS: check}) == Result.CANCELED
    assert check.canceled
    assert not machine.is_err()


def test_disposing_ends_start_and_keeps_it_out() -> None:
    machine = disposable()
    go = threading.Event()
    machine.add(
        "RegisterDisposal", args={DisposedArgHandler: lambda *_: go.wait(PATIENCE) and None}
    )
    machine.add("Disposing")
    assert machine.not_("Start")
    assert machine.add("Start") == Result.CANCELED
    go.set()
    assert machine.when_disposed().wait(PATIENCE)
