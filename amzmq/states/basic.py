"""What most machines have (spec machine 1.6)."""

from __future__ import annotations

from amzmq.machine.schema import State, States


class BasicStates(States):
    """Errors, Start and Ready, and the two health signals."""

    Exception = State(multi=True)
    ErrNetwork = State(multi=True, add="Exception", require="Exception")
    ErrHandlerTimeout = State(multi=True, add="Exception", require="Exception")
    Start = State()
    Ready = State(require=Start)
    Healthcheck = State(multi=True)
    Heartbeat = State()
