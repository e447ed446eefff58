"""The ready-made schemas: sound, and their groups exclude each other."""

from __future__ import annotations

import itertools

import pytest

from amzmq import states
from amzmq.machine import Machine, Result, State, States
from amzmq.states import (
    BasicStates,
    ClientStates,
    ConnectedStates,
    ConsumerStates,
    MuxStates,
    ServerStates,
    SharedStates,
    StateSourceStates,
)

from .walk import Walk

ALL: list[type[States]] = [
    value
    for value in (getattr(states, name) for name in states.__all__)
    if isinstance(value, type) and issubclass(value, States)
]
NEED_START = {"ConnectedStates", "ConnPoolStates"}
"""Whoever uses these brings a Start of their own."""

CONNECTION = ("Connecting", "Connected", "Disconnecting", "Disconnected")
HANDSHAKE = ("Handshaking", "HandshakeDone")
RPC = ("RpcStarting", "RpcAccepting", "RpcReady")


class Standing(ConnectedStates):
    """`ConnectedStates` with the Start that they leave to the user."""

    Start = State()


@pytest.mark.parametrize("schema", [*ALL, Standing])
def test_a_schema_parses_without_an_error(schema: type[States]) -> None:
    compiled = Machine(schema).compiled
    assert not compiled.errors
    assert compiled.require_cycle is None
    assert compiled.names == tuple(schema.names())
    assert "Exception" in compiled.names


@pytest.mark.parametrize("schema", [schema for schema in ALL if schema.__name__ not in NEED_START])
def test_every_state_that_a_relation_names_is_there(schema: type[States]) -> None:
    machine = Machine(schema)
    for state in machine.schema.values():
        for _, names in state.relations():
            assert machine.has(*names)


@pytest.mark.parametrize("schema", ALL)
def test_every_error_state_requires_exception(schema: type[States]) -> None:
    for name, state in Machine(schema).schema.items():
        if name.startswith("Err"):
            assert "Exception" in state.require


@pytest.mark.parametrize("schema", [BasicStates, SharedStates, MuxStates])
def test_a_network_error_goes_with_exception(schema: type[States]) -> None:
    machine = Machine(schema)
    assert machine.add_err_state("ErrNetwork", OSError("x")) == Result.EXECUTED
    assert machine.is_("ErrNetwork", "Exception")
    machine.remove("Exception")
    assert machine.not_("ErrNetwork")


@pytest.mark.parametrize(
    ("schema", "group", "before"),
    [
        (Standing, CONNECTION, ["Start"]),
        (ClientStates, CONNECTION, ["Start"]),
        (ClientStates, HANDSHAKE, ["Start", "Connected"]),
        (ServerStates, RPC, ["Start"]),
        (ServerStates, HANDSHAKE, ["Start", "RpcReady", "ClientConnected"]),
        (SharedStates, HANDSHAKE, ["Start"]),
    ],
)
def test_the_states_of_a_group_exclude_each_other(
    schema: type[States], group: tuple[str, ...], before: list[str]
) -> None:
    for first, then in itertools.permutations(group, 2):
        machine = Machine(schema)
        for state in before:
            machine.add(state)
        machine.add(first)
        machine.add(*[state for state in before if machine.not_(state)])
        machine.add(then)
        active = [state for state in group if machine.is_(state)]
        assert active == [then], f"{first}, then {then}"


@pytest.mark.parametrize("schema", [Standing, ClientStates])
def test_without_anything_else_a_connection_is_disconnected(schema: type[States]) -> None:
    machine = Machine(schema)
    machine.add("Start")
    machine.add("Connected")
    assert machine.not_("Disconnected")
    machine.remove("Connected")
    assert machine.is_("Disconnected")


def test_the_walk_of_a_client() -> None:
    client = Machine(ClientStates)
    walk = Walk()
    client.bind_tracer(walk)
    for state in ("Start", "Connected", "HandshakeDone"):
        assert client.add(state) == Result.EXECUTED
    assert walk.entered[:2] == [{"Start", "Connecting"}, {"Connected", "Handshaking"}]
    assert client.is_("Start", "Connected", "HandshakeDone", "Ready")
    assert client.not_("Connecting", "Handshaking")
    client.add("Disconnected")
    assert client.not_("Ready", "HandshakeDone", "Connected")
    client.add("RetryingConn")
    client.add("Connecting")
    assert client.is_("RetryingConn", "Connecting")
    client.add("Connected")
    assert client.not_("RetryingConn")
    assert client.is_("Handshaking")
    client.add("Disconnected")
    client.add("ConnRetryFailed")
    assert client.not_("Start", "RetryingConn")


def test_a_client_that_gave_up_connects_again_when_told_so() -> None:
    client = Machine(ClientStates)
    client.add("Start")
    client.add("Disconnected")
    client.add("ConnRetryFailed")
    # Disconnected is active and keeps out what Start merely implies; what is called goes in.
    assert client.add("Start", "Connecting") == Result.EXECUTED
    assert client.is_("Start", "Connecting")
    assert client.not_("ConnRetryFailed", "Disconnected")


def test_a_client_cannot_shake_hands_without_a_connection() -> None:
    client = Machine(ClientStates)
    client.add("Start")
    assert client.add("HandshakeDone") == Result.CANCELED
    assert client.add("Handshaking") == Result.CANCELED
    assert client.add("WorkerPayload") == Result.CANCELED


def test_a_network_error_ends_an_attempt_to_connect() -> None:
    client = Machine(ClientStates)
    client.add("Start")
    client.add_err_state("ErrNetwork", OSError("refused"))
    assert client.not_("Connecting")
    assert client.is_("ErrNetwork", "Exception", "Disconnected")


def test_the_walk_of_a_server() -> None:
    server = Machine(ServerStates)
    server.add("Start")
    assert server.is_("RpcStarting")
    server.add("RpcAccepting")
    assert server.add("ClientConnected") == Result.CANCELED
    for state in ("RpcReady", "ClientConnected", "Handshaking"):
        assert server.add(state) == Result.EXECUTED
    assert server.not_("RpcStarting", "RpcAccepting", "Ready")
    server.add("HandshakeDone")
    assert server.is_("Ready")
    assert server.not_("Handshaking")
    server.remove("ClientConnected")
    assert server.not_("HandshakeDone", "Ready")
    assert server.is_("RpcReady")


def test_a_network_error_of_a_server_is_the_end_of_its_client() -> None:
    server = Machine(ServerStates)
    for state in ("Start", "RpcReady", "ClientConnected", "Handshaking"):
        server.add(state)
    server.add_err_state("ErrNetwork", OSError("gone"))
    assert server.not_("ClientConnected")
    assert server.is_("RpcReady", "ErrNetwork")


def test_a_server_that_serves_has_no_errors() -> None:
    # As in the reference (spec rpc 2.2): HandshakeDone removes Exception, so it keeps it out.
    server = Machine(ServerStates)
    for state in ("Start", "RpcReady", "ClientConnected", "HandshakeDone"):
        server.add(state)
    assert server.add_err_state("ErrNetwork", OSError("gone")) == Result.CANCELED
    assert server.is_("Ready")


def test_the_walk_of_a_mux() -> None:
    mux = Machine(MuxStates)
    assert mux.add("Ready") == Result.CANCELED
    assert mux.add("HasClients") == Result.CANCELED
    for state in ("Start", "Ready", "ClientConnected", "HasClients"):
        assert mux.add(state) == Result.EXECUTED
    ticks = mux.tick("ClientConnected")
    mux.add("ClientConnected")
    assert mux.tick("ClientConnected") == ticks + 2
    mux.add_err(ValueError("x"))
    assert mux.not_("Ready")
    mux.remove("Start")
    assert mux.not_("HasClients", "ClientConnected")


def test_an_error_of_a_client_is_marked_only_with_exception() -> None:
    source = Machine(StateSourceStates)
    assert source.add("ErrOnClient") == Result.CANCELED
    source.add_err(ValueError("x"))
    assert source.add("ErrOnClient") == Result.EXECUTED


def test_each_payload_ticks_a_consumer() -> None:
    consumer = Machine(ConsumerStates)
    for _ in range(3):
        consumer.add("WorkerPayload")
    assert consumer.tick("WorkerPayload") == 5
