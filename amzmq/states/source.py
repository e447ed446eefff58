"""What a machine with handlers has when it is served (spec rpc 2.1)."""

from __future__ import annotations

from amzmq.machine.schema import State, States


class StateSourceStates(States):
    """Marks errors that a client added through its replica."""

    Exception = State(multi=True)
    ErrOnClient = State(require=Exception)


class NetSourceStates(StateSourceStates):
    """Sends payloads by a state, see ``Mux(payload_state=...)`` (spec rpc 8.3)."""

    ErrProviding = State(require="Exception")
    ErrSendPayload = State(require="Exception")
    SendPayload = State(multi=True)
