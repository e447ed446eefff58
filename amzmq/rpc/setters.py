"""Adding errors to the machines of the rpc parts, each by the state it belongs to (spec rpc 3.6).

    add_err(event, client.mach, "while listening", error)    chooses the setter by the error
    add_err_network(event, client.mach, error)               and so on: names the state itself

What decides is the type of the error. Only of an error of unknown make, or one that came over the
wire as text, the text is looked at, in the words that the specification names.

    InvalidArgs                                     ErrRpc         `add_err_params`
    WireError, "FrameInvalid: ..."                  ErrRpc         `add_err_resp`
    "can't find method"                             ErrRpc         `add_err_rpc_str`
    EOFError, "unexpected EOF",
    "connection is shut down"                       ErrRpc
    CallTimeout, TimeoutError, "timeout"            ErrNetwork, as a CallTimeout
    DeliveryFailed, DestinationUnknown              ErrDelivery
    NotConnected                                    ErrNetwork     `add_err_no_conn`
    ConnectFailed, NetError, OSError                ErrNetwork     `add_err_network`
    any other RpcError                              ErrRpc
    anything else                                   Exception

A machine without such a state is told by Exception alone: no error is lost for it. The machine's
`err()` is the error that the setter returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from amzmq.errors import (
    AmzmqError,
    CallTimeout,
    ConnectFailed,
    DeliveryFailed,
    DestinationUnknown,
    FrameInvalid,
    InvalidArgs,
    NetError,
    NotConnected,
    RemoteError,
    RpcError,
    WireError,
)
from amzmq.machine import EXCEPTION, HasSource, Machine
from amzmq.states import SharedStates

_E = TypeVar("_E", bound=Exception)

Setter = Callable[[HasSource | None, Machine, Exception], Exception]
"""Adds an error to a machine; returns the error that the machine was given."""


def add_err(event: HasSource | None, machine: Machine, msg: str, err: Exception) -> Exception:
    """Add an error by the setter that fits it.

    Args:
        event: The event of the handler that makes this mutation, if one does.
        machine: The machine of a Client, a Server or a Mux.
        msg: What was being done; kept as a note of the error when not empty.
        err: What happened.

    Returns:
        The error that was added: `err`, or one whose cause it is.
    """
    if msg:
        err.add_note(msg)
    return _setter_of(err)(event, machine, err)


def add_err_network(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    """Add ErrNetwork with the error as it is."""
    return _add(event, machine, err, SharedStates.ErrNetwork)


def add_err_network_timeout(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    """Add ErrNetworkTimeout with a `CallTimeout` that the error is the cause of."""
    return _add(event, machine, _timeout(err), SharedStates.ErrNetworkTimeout)


def add_err_no_conn(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    """Add ErrNetwork with a `NotConnected` that the error is the cause of."""
    if not isinstance(err, NotConnected):
        err = _caused(NotConnected(f"not connected: {err}"), err)
    return _add(event, machine, err, SharedStates.ErrNetwork)


def add_err_params(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    """Add ErrRpc with an `InvalidArgs` that the error is the cause of."""
    if not isinstance(err, InvalidArgs):
        err = _caused(InvalidArgs(f"invalid params: {err}"), err)
    return _add(event, machine, err, SharedStates.ErrRpc)


def add_err_resp(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    """Add ErrRpc with a `WireError` that the error is the cause of."""
    if not isinstance(err, WireError):
        err = _caused(FrameInvalid(f"invalid response: {err}"), err)
    return _add(event, machine, err, SharedStates.ErrRpc)


def add_err_rpc_str(event: HasSource | None, machine: Machine, msg: str) -> Exception:
    """Add ErrRpc with an `RpcError` of these words."""
    return _add(event, machine, RpcError(f"rpc: {msg}"), SharedStates.ErrRpc)


def _add_rpc(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    return _add(event, machine, err, SharedStates.ErrRpc)


def _add_delivery(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    return _add(event, machine, err, SharedStates.ErrDelivery)


def _add_method_unknown(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    return _add(event, machine, _caused(RpcError(f"rpc: {err}"), err), SharedStates.ErrRpc)


def _add_timeout(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    return add_err_network(event, machine, _timeout(err))


def _add_plain(event: HasSource | None, machine: Machine, err: Exception) -> Exception:
    return _add(event, machine, err)


_BY_TYPE: tuple[tuple[type[Exception], Setter], ...] = (
    (InvalidArgs, add_err_params),
    (WireError, add_err_resp),
    (EOFError, _add_rpc),
    (CallTimeout, _add_timeout),
    (TimeoutError, _add_timeout),
    (DeliveryFailed, _add_delivery),
    (DestinationUnknown, _add_delivery),
    (NotConnected, add_err_no_conn),
    (ConnectFailed, add_err_network),
    (NetError, add_err_network),
    (OSError, add_err_network),
    (RpcError, _add_rpc),
    (AmzmqError, _add_plain),
)
"""The first that fits: a TimeoutError is an OSError, a DestinationUnknown a NotConnected."""

_BY_TEXT: tuple[tuple[str, Setter], ...] = (
    ("can't find method", _add_method_unknown),
    ("connection is shut down", _add_rpc),
    ("unexpected eof", _add_rpc),
    ("timeout", _add_timeout),
)

_WIRE_ERRORS = ("FrameInvalid", "FrameTooLarge")
"""How the text of a `RemoteError` begins that was one of these where it was raised."""


def _setter_of(err: Exception) -> Setter:
    if not isinstance(err, RemoteError):
        for kind, setter in _BY_TYPE:
            if isinstance(err, kind):
                return setter
    text = str(err)
    if isinstance(err, RemoteError) and text.startswith(_WIRE_ERRORS):
        return add_err_resp
    lowered = text.lower()
    for words, setter in _BY_TEXT:
        if words in lowered:
            return setter
    return _add_rpc if isinstance(err, RemoteError) else _add_plain


def _add(
    event: HasSource | None, machine: Machine, err: Exception, state: str = EXCEPTION
) -> Exception:
    machine.add_err_state(state if machine.has(state) else EXCEPTION, err, event=event)
    return err


def _timeout(err: Exception) -> CallTimeout:
    if isinstance(err, CallTimeout):
        return err
    return _caused(CallTimeout(f"network timeout: {err}"), err)


def _caused(err: _E, cause: Exception) -> _E:
    err.__cause__ = cause
    return err
