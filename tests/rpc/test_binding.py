"""A machine of the user's knows what its Server or Mux knows."""

from __future__ import annotations

import pytest

from amzmq.errors import InvalidArgs, StateUnknown
from amzmq.machine import Machine, State
from amzmq.pipes import Pipe, pipes_of
from amzmq.rpc.binding import bind_mux, bind_server, bind_server_multi, bind_server_rpc_ready
from amzmq.states import MuxStates, ServerStates

from .rig import World, soon, until

SERVING = ("Start", "RpcStarting", "RpcAccepting", "RpcReady")


def server(*states: str) -> Machine:
    """The machine of a Server, driven by hand."""
    made = Machine(ServerStates, id="rs-reader")
    for state in states:
        made.add(state)
    return made


def app() -> Machine:
    schema = {
        "Serving": State(),
        "Online": State(),
        "Ready": State(multi=True),
        "Came": State(multi=True),
        "Went": State(multi=True),
        "HasClients": State(),
        "Empty": State(),
    }
    return Machine(schema, id="app")


def test_a_server_s_states_are_followed_both_ways() -> None:
    source, target = server(), app()
    bind_server(source, target, "Serving", "Online")
    for state in (*SERVING, "ClientConnected"):
        source.add(state)
    assert target.active_states() == ["Serving"]
    source.add("HandshakeDone")
    assert target.is_("Serving", "Online")
    source.remove("HandshakeDone")
    assert target.active_states() == ["Serving"]
    source.remove("Start")
    assert target.active_states() == []


def test_what_a_server_has_already_is_added_at_once() -> None:
    source, target = server(*SERVING, "ClientConnected", "HandshakeDone"), app()
    bind_server(source, target, "Serving", "Online")
    assert target.is_("Serving", "Online")
    source.add("Handshaking")
    assert target.active_states() == ["Serving"]


def test_a_client_that_comes_and_goes_is_counted_by_multi_states() -> None:
    source, target = server(*SERVING), app()
    bind_server_multi(source, target, "Serving", "Came", "Went")
    assert target.active_states() == ["Serving"]
    for _ in range(2):
        for state in ("ClientConnected", "HandshakeDone", "Handshaking"):
            source.add(state)
    assert target.clock("Came", "Went") == {"Came": 3, "Went": 3}
    assert target.is_("Serving", "Came", "Went")
    source.remove("Start")
    assert target.not_("Serving")


def test_servers_that_came_to_serve_are_counted_by_one_multi_state() -> None:
    target = app()
    for _ in range(3):
        source = server()
        bind_server_rpc_ready(source, target, "Ready")
        for state in SERVING:
            source.add(state)
        source.remove("RpcReady")
    assert target.tick("Ready") == 5


def test_a_mux_s_clients_are_one_state() -> None:
    source, target = Machine(MuxStates, id="rm-x"), app()
    source.add("Start")
    bind_mux(source, target, "Online")
    source.add("HasClients")
    assert target.is_("Online")
    source.remove("HasClients")
    assert target.not_("Online")


def test_a_mux_s_states_may_have_other_names_or_their_own() -> None:
    source, target = Machine(MuxStates, id="rm-x"), app()
    source.add("Start")
    bind_mux(source, target)
    bind_mux(source, target, "Online", "Empty")
    target.add("Empty")
    source.add("HasClients")
    source.remove("HasClients")
    assert target.active_states() == ["Online"]


def test_an_empty_name_is_a_mistake_and_says_which() -> None:
    source, target = server(), app()
    with pytest.raises(InvalidArgs, match="client_conn"):
        bind_server(source, target, "Serving", "")
    with pytest.raises(InvalidArgs, match="client_disconn"):
        bind_server_multi(source, target, "Serving", "Came", "")
    with pytest.raises(InvalidArgs, match="rpc_ready"):
        bind_server_rpc_ready(source, target, "")
    assert pipes_of(source) == []


def test_a_wrong_name_is_an_error_at_the_call() -> None:
    with pytest.raises(StateUnknown, match="Nowhere"):
        bind_server(server(), app(), "Serving", "Nowhere")
    with pytest.raises(StateUnknown, match="HasClients"):
        bind_mux(server(), app(), "Online")


def test_each_binding_is_one_pipe_that_can_be_taken_off() -> None:
    source, target = server(*SERVING), app()
    pipes: list[Pipe] = [
        bind_server(source, target, "Serving", "Online"),
        bind_server_multi(source, target, "Serving", "Came", "Went"),
        bind_server_rpc_ready(source, target, "Ready"),
    ]
    assert [pipe.id for pipe in pipes] == [
        "BindServer-app",
        "BindServerMulti-app",
        "BindServerRpcReady-app",
    ]
    for pipe in pipes:
        pipe.unbind()
    source.add("ClientConnected")
    source.add("HandshakeDone")
    assert target.not_("Online", "Came")


async def test_an_application_knows_whether_anybody_follows_its_mux(world: World) -> None:
    target = app()
    mux = await world.serve()
    bind_mux(mux.mach, target, "Online")
    client = await world.follow()
    await soon(target.when("Online"))
    await client.stop()
    await soon(target.when_not("Online"))


async def test_an_application_knows_the_client_of_a_server(world: World) -> None:
    target = app()
    mux = await world.serve()
    client = await world.follow()
    (server,) = mux.servers
    bind_server_multi(server.mach, target, "Serving", "Came", "Went")
    await until(lambda: target.is_("Serving", "Came"))
    await client.stop()
    await soon(target.when("Went"))
    await soon(target.when_not("Serving"))
    assert pipes_of(target) == []
