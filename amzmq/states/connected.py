"""A connection as four states that exclude each other (spec machine 1.6)."""

from __future__ import annotations

from amzmq.machine.schema import State, States

_GROUP = ("Connecting", "Connected", "Disconnecting", "Disconnected")


class ConnectedStates(States):
    """Connecting, Connected, Disconnecting, Disconnected; Start comes from the user's schema."""

    ErrConnecting = State(require="Exception")
    Connecting = State(require="Start", remove=_GROUP)
    Connected = State(require="Start", remove=_GROUP)
    Disconnecting = State(remove=_GROUP)
    Disconnected = State(auto=True, remove=_GROUP)
    Exception = State(multi=True)
