"""Errors become the states they belong to, and none is lost."""

from __future__ import annotations

import asyncio
import errno

import pytest

from amzmq import errors
from amzmq.machine import EXCEPTION, Event, Machine, State
from amzmq.rpc.setters import (
    Setter,
    add_err,
    add_err_network,
    add_err_network_timeout,
    add_err_no_conn,
    add_err_params,
    add_err_resp,
    add_err_rpc_str,
)
from amzmq.states import MuxStates, SharedStates

ERROR_STATES = {"ErrNetwork", "ErrNetworkTimeout", "ErrRpc", "ErrDelivery"}


def shared() -> Machine:
    machine = Machine(SharedStates, id="rc-test")
    machine.add("Start")
    return machine


def error_states(machine: Machine) -> set[str]:
    """The error states that are active."""
    assert machine.is_err()
    return ERROR_STATES.intersection(machine.active_states())


# Choosing the setter.


@pytest.mark.parametrize(
    ("err", "state"),
    [
        (errors.InvalidArgs("no id"), "ErrRpc"),
        (errors.FrameInvalid("7 bytes"), "ErrRpc"),
        (errors.FrameTooLarge("too large"), "ErrRpc"),
        (asyncio.IncompleteReadError(b"", 4), "ErrRpc"),
        (errors.CallTimeout("3 s"), "ErrNetwork"),
        (TimeoutError(), "ErrNetwork"),
        (errors.NotConnected("nobody"), "ErrNetwork"),
        (errors.ConnectFailed("15 attempts"), "ErrNetwork"),
        (errors.AddressInUse("tcp://127.0.0.1:1"), "ErrNetwork"),
        (ConnectionResetError("reset"), "ErrNetwork"),
        (OSError(errno.ENETUNREACH, "unreachable"), "ErrNetwork"),
        (errors.DestinationUnknown("no client 'x'"), "ErrDelivery"),
        (errors.DeliveryFailed("price", "rc-x", "refused"), "ErrDelivery"),
        (errors.Refused("not you"), "ErrRpc"),
        (errors.NoAccess("not you"), "ErrRpc"),
        (errors.OutcomeUnknown("restarted"), "ErrRpc"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_error_is_told_by_its_type(err: Exception, state: str) -> None:
    machine = shared()
    added = add_err(None, machine, "", err)
    assert error_states(machine) == {state}
    assert machine.err() is added
    assert added is err or added.__cause__ is err


@pytest.mark.parametrize(
    ("text", "state", "kind"),
    [
        ("rpc: can't find method Foo", "ErrRpc", errors.RpcError),
        ("connection is shut down", "ErrRpc", RuntimeError),
        ("read: unexpected EOF", "ErrRpc", RuntimeError),
        ("i/o timeout", "ErrNetwork", errors.CallTimeout),
    ],
)
def test_an_error_of_unknown_make_is_told_by_its_words(
    text: str, state: str, kind: type[Exception]
) -> None:
    machine = shared()
    added = add_err(None, machine, "", RuntimeError(text))
    assert error_states(machine) == {state}
    assert type(added) is kind
    assert text in str(added)


@pytest.mark.parametrize(
    ("type_name", "text", "state", "kind"),
    [
        ("FrameInvalid", "7 bytes", "ErrRpc", errors.FrameInvalid),
        ("TimeoutError", "", "ErrNetwork", errors.CallTimeout),
        ("ValueError", "bad", "ErrRpc", errors.RemoteError),
    ],
)
def test_an_error_that_came_as_text_is_told_by_its_text(
    type_name: str, text: str, state: str, kind: type[Exception]
) -> None:
    machine = shared()
    added = add_err(None, machine, "", errors.RemoteError(type_name, text))
    assert error_states(machine) == {state}
    assert type(added) is kind


@pytest.mark.parametrize("err", [ValueError("x"), errors.StateUnknown(("timeout",), "m", ())])
def test_any_other_error_is_a_plain_exception_whatever_a_known_one_says(err: Exception) -> None:
    machine = shared()
    assert add_err(None, machine, "", err) is err
    assert error_states(machine) == set()
    assert machine.err() is err


def test_what_was_being_done_is_noted_and_changes_nothing_else() -> None:
    machine = shared()
    err = ConnectionRefusedError("no")
    assert add_err(None, machine, "while listening", err) is err
    assert err.__notes__ == ["while listening"]
    assert error_states(machine) == {"ErrNetwork"}


def test_an_error_comes_with_the_event_of_its_handler() -> None:
    machine = shared()
    sources = []

    class Handlers:
        def StartEnd(self, e: Event) -> None:
            add_err(e, machine, "", OSError("x"))
            sources.append(e.transition_id)

        def ErrNetworkState(self, e: Event) -> None:
            assert e.mutation.source is not None
            sources.append(e.mutation.source.tx_id)

    machine.bind(Handlers())
    machine.remove("Start")
    assert len(sources) == 2
    assert sources[0] == sources[1]


def test_a_canceled_mutation_is_no_error() -> None:
    machine = shared()
    add_err(None, machine, "", errors.Canceled("vetoed"))
    assert not machine.is_err()


# The setters by name.


@pytest.mark.parametrize(
    ("setter", "state", "kind", "words"),
    [
        (add_err_no_conn, "ErrNetwork", errors.NotConnected, "not connected: x"),
        (add_err_network_timeout, "ErrNetworkTimeout", errors.CallTimeout, "network timeout: x"),
        (add_err_params, "ErrRpc", errors.InvalidArgs, "invalid params: x"),
        (add_err_resp, "ErrRpc", errors.FrameInvalid, "invalid response: x"),
    ],
)
def test_a_setter_says_what_it_means_and_keeps_the_cause(
    setter: Setter, state: str, kind: type[Exception], words: str
) -> None:
    machine, cause = shared(), ValueError("x")
    added = setter(None, machine, cause)
    assert error_states(machine) == {state}
    assert machine.err() is added
    assert type(added) is kind
    assert str(added) == words
    assert added.__cause__ is cause
    assert setter(None, machine, added) is added


def test_a_network_error_stays_as_it_is() -> None:
    machine, err = shared(), ValueError("x")
    assert add_err_network(None, machine, err) is err
    assert error_states(machine) == {"ErrNetwork"}


def test_words_alone_make_an_rpc_error() -> None:
    machine = shared()
    added = add_err_rpc_str(None, machine, "states missing")
    assert error_states(machine) == {"ErrRpc"}
    assert type(added) is errors.RpcError
    assert str(added) == "rpc: states missing"


@pytest.mark.parametrize("schema", [MuxStates, {"A": State()}])
def test_a_machine_without_the_state_is_told_by_exception_alone(schema: type[MuxStates]) -> None:
    machine = Machine(schema)
    err = errors.Refused("x")
    assert add_err(None, machine, "", err) is err
    assert machine.active_states() == [EXCEPTION]
    assert machine.err() is err
