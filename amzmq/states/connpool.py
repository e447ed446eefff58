"""A pool of connections, of which some or all may be there (spec machine 1.6)."""

from __future__ import annotations

from collections.abc import Awaitable

from amzmq.machine.api import Api
from amzmq.machine.args import Args
from amzmq.machine.event import HasSource
from amzmq.machine.result import Result
from amzmq.machine.schema import State, States


class ConnPoolStates(States):
    """Connected with the first connection, ConnectedFully with all; Start comes from the user.

    Unlike in `ConnectedStates`, the pool goes on connecting while it is Connected.
    """

    ErrConnecting = State(require="Exception")
    Connecting = State(require="Start", remove="Disconnecting")
    Connected = State(require="Start", remove="Disconnected")
    ConnectedFully = State(require=Connected, remove="Disconnected")
    Disconnecting = State(remove=[ConnectedFully, Connected, Connecting])
    Disconnected = State(remove=[Connecting, ConnectedFully, Disconnecting])
    Exception = State(multi=True)


def add_err_connecting(
    machine: Api, err: Exception, *, args: Args | None = None, event: HasSource | None = None
) -> Awaitable[Result]:
    """Add ErrConnecting, with an error that tells a failed connection from other errors.

    Args:
        machine: Has the states of `ConnPoolStates` or `ConnectedStates`.
        err: Why there is no connection; the cause of the ConnectionError that is added.
        args: Arguments for the handlers.
        event: The event of the handler that makes this mutation.
    """
    error = ConnectionError(f"error connecting: {err}")
    error.__cause__ = err
    return machine.add_err_state("ErrConnecting", error, args=args, event=event)
