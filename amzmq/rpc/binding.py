"""What a Server or a Mux tells of its clients, as states of a machine of yours (spec rpc 1.9).

Each binds one pipe from the machine of a Server or a Mux (its ``mach``) to yours, and adds at once
what holds already: a server comes into being with its client, so RpcReady is older than anybody
who could bind it. Bind on the event loop of the server.

    bind_mux(mux.mach, app, "Online")            Online while any client is there

The pipe ends with either machine; `Pipe.unbind` ends it before.
"""

from __future__ import annotations

from collections.abc import Mapping

from amzmq.errors import InvalidArgs
from amzmq.machine import Machine
from amzmq.machine.api import Api
from amzmq.pipes import Pipe, PipeHandler, add, bind, remove, sync
from amzmq.states import MuxStates, ServerStates

_RPC_READY: str = ServerStates.RpcReady
_HANDSHAKE_DONE: str = ServerStates.HandshakeDone
_HAS_CLIENTS: str = MuxStates.HasClients


def bind_server(source: Machine, target: Api, rpc_ready: str, client_conn: str) -> Pipe:
    """Follow a server: two states of the target are added and removed with those of the server.

    Args:
        source: The machine of a Server.
        target: The machine to mutate.
        rpc_ready: Its state for RpcReady: the server serves.
        client_conn: Its state for HandshakeDone: the client is connected and level.

    Raises:
        InvalidArgs: A name is empty.
        StateUnknown: One of the machines does not have its state.
    """
    _check_names("bind_server", rpc_ready=rpc_ready, client_conn=client_conn)
    handlers = _serving(source, target, rpc_ready, client_conn)
    handlers[f"{_HANDSHAKE_DONE}End"] = remove(source, target, _HANDSHAKE_DONE, client_conn)
    targets = {_RPC_READY: rpc_ready, _HANDSHAKE_DONE: client_conn}
    return _bind("BindServer", source, target, handlers, targets)


def bind_server_multi(
    source: Machine, target: Api, rpc_ready: str, client_conn: str, client_disconn: str
) -> Pipe:
    """Follow one server of several: multi states of the target count who comes and who goes.

    Args:
        source: The machine of a Server.
        target: The machine to mutate.
        rpc_ready: Its state for RpcReady, added and removed.
        client_conn: Its multi state that is added whenever a client is connected.
        client_disconn: Its multi state that is added whenever one no longer is.

    Raises:
        InvalidArgs: A name is empty.
        StateUnknown: One of the machines does not have its state.
    """
    _check_names(
        "bind_server_multi",
        rpc_ready=rpc_ready,
        client_conn=client_conn,
        client_disconn=client_disconn,
    )
    handlers = _serving(source, target, rpc_ready, client_conn)
    handlers[f"{_HANDSHAKE_DONE}End"] = add(source, target, _HANDSHAKE_DONE, client_disconn)
    targets = {_RPC_READY: rpc_ready, _HANDSHAKE_DONE: client_conn}
    return _bind("BindServerMulti", source, target, handlers, targets)


def bind_server_rpc_ready(source: Machine, target: Api, rpc_ready: str) -> Pipe:
    """Count the servers that came to serve: a multi state of the target is added for each.

    Args:
        source: The machine of a Server.
        target: The machine to mutate.
        rpc_ready: Its multi state for RpcReady; never removed.

    Raises:
        InvalidArgs: The name is empty.
        StateUnknown: One of the machines does not have its state.
    """
    _check_names("bind_server_rpc_ready", rpc_ready=rpc_ready)
    handlers = {f"{_RPC_READY}State": add(source, target, _RPC_READY, rpc_ready)}
    return _bind("BindServerRpcReady", source, target, handlers, {_RPC_READY: rpc_ready})


def bind_mux(source: Machine, target: Api, active: str = "", inactive: str = "") -> Pipe:
    """Follow a mux: a state of the target is added with its first client, removed with the last.

    Args:
        source: The machine of a Mux.
        target: The machine to mutate.
        active: What is added to the target; HasClients when empty.
        inactive: What is removed from the target; `active` when empty.

    Raises:
        StateUnknown: One of the machines does not have its state.
    """
    pipe = bind(source, target, _HAS_CLIENTS, active, inactive)
    _add_present(source, target, {_HAS_CLIENTS: active or _HAS_CLIENTS})
    return pipe


def _serving(
    source: Machine, target: Api, rpc_ready: str, client_conn: str
) -> dict[str, PipeHandler]:
    return {
        f"{_RPC_READY}State": add(source, target, _RPC_READY, rpc_ready),
        f"{_RPC_READY}End": remove(source, target, _RPC_READY, rpc_ready),
        f"{_HANDSHAKE_DONE}State": add(source, target, _HANDSHAKE_DONE, client_conn),
    }


def _bind(
    name: str,
    source: Machine,
    target: Api,
    handlers: Mapping[str, PipeHandler],
    targets: Mapping[str, str],
) -> Pipe:
    pipe = Pipe(source, target, f"{name}-{target.id}", handlers)
    _add_present(source, target, targets)
    return pipe


def _add_present(source: Machine, target: Api, targets: Mapping[str, str]) -> None:
    present = source.active_states(*targets)
    sync(source, target, present, [targets[state] for state in present])


def _check_names(caller: str, **names: str) -> None:
    for name, value in names.items():
        if not value:
            raise InvalidArgs(f"{caller}: {name} is empty; name a state of the target")
