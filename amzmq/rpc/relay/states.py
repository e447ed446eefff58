"""The machine of a relay."""

from __future__ import annotations

from amzmq.machine import State
from amzmq.states import BasicStates


class RelayStates(BasicStates):
    """A relay: Ready while it is level with all that it follows, Stale while some of it is away.

    Recalled ticks when the followers of a machine had to say Hello again.
    """

    Ready = State(require="Start", remove="Stale")
    Stale = State(require="Start", remove="Ready")
    Recalled = State(multi=True, require="Start")
