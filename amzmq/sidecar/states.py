"""The machines that the daemon serves by itself: its own, its jobs', its applications'.

Relations between phases are mutual: a phase that is active never keeps another one out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from amzmq.machine.event import Event
from amzmq.machine.schema import EXCEPTION, State, States
from amzmq.sidecar.config import StateConfig

_OVER = ("Exited", "Failed")


class JobStates(States):
    """What every job tells: Ready, or how it ended."""

    Exception = State(multi=True)
    Starting = State(remove=["Ready", *_OVER])
    Ready = State(remove=["Starting", *_OVER])
    Exited = State(remove=["Starting", "Ready", "Failed"])
    Failed = State(remove=["Starting", "Ready", "Exited"])


_ALIVE = ("Starting", "Running", "Ready", "Unhealthy", "Stopping", "Restarting")


class AppStates(JobStates):
    """An application.

    Starting lasts until it is Ready, Running as long as its process is there. Unhealthy takes
    the place of Ready while its health checks fail. Stopping: it was asked to end. Then it has
    Exited (with status 0, or because it was told to), or Failed, or it waits in Backoff for its
    next start. Restarting lasts from the decision until it runs again.

    Starting, Stopping and Restarting may be added by anybody, and are obeyed.
    """

    Starting = State(remove=["Ready", "Unhealthy", "Stopping", "Backoff", *_OVER])
    Running = State(remove=["Backoff", *_OVER])
    Ready = State(require="Running", remove=["Starting", "Unhealthy", "Stopping", *_OVER])
    Unhealthy = State(require="Running", remove=["Starting", "Ready", "Stopping"])
    # Multi, so that a request is seen while it is stopped for a restart.
    Stopping = State(multi=True, remove=["Starting", "Ready", "Unhealthy", "Backoff", *_OVER])
    Exited = State(remove=[*_ALIVE, "Backoff", "Failed"])
    Failed = State(remove=[*_ALIVE, "Backoff", "Exited"])
    Restarting = State(remove=_OVER)
    Backoff = State(remove=["Starting", "Running", "Ready", "Unhealthy", "Stopping", *_OVER])


APP_REQUESTS = frozenset({"Starting", "Stopping", "Restarting"})


class DaemonStates(States):
    """The daemon.

    Ready while every job is; Degraded while one has Failed or is Unhealthy. Reloading and
    Draining may be added by anybody, and are obeyed: the configuration is read again, or the
    daemon ends in good order.
    """

    Exception = State(multi=True)
    Start = State()
    Ready = State(require=Start, remove=["Degraded", "Draining"])
    Degraded = State(require=Start, remove=[Ready, "Draining"])
    # Multi, so that a request is seen while an earlier one is obeyed.
    Reloading = State(multi=True, require=Start, remove="Draining")
    Draining = State(require=Start, remove=[Ready, Degraded, Reloading])


DAEMON_REQUESTS = frozenset({"Reloading", "Draining"})


def schema_of(states: Mapping[str, StateConfig]) -> dict[str, State]:
    """The schema of an application's machine: the common states, then its own."""
    own = {
        name: State(
            auto=state.auto,
            multi=state.multi,
            require=state.require,
            add=state.add,
            remove=state.remove,
            after=state.after,
        )
        for name, state in states.items()
    }
    return {**AppStates.schema(), **own}


class Gate:
    """Negotiation handler that keeps facts true: only their owner tells them.

    Args:
        requests: States that anybody may add.
        free: States that anybody may change.

    Attributes:
        told: The arguments that mark what the owner tells; they are in no message.
    """

    def __init__(self, requests: Iterable[str], free: Iterable[str] = ()) -> None:
        self._free = {EXCEPTION, *free}
        self._addable = {*requests, *self._free}
        self.told: Mapping[str, object] = {"_told": self}

    def AnyEnter(self, e: Event) -> bool:
        """Whether it is told, or may be asked for."""
        mutation = e.mutation
        if mutation.is_auto or self.is_told(e):
            return True
        names = e.machine.state_names
        called = {names[index] for index in mutation.called}
        kind = str(mutation.type)
        return called <= (self._addable if kind == "add" else self._free) and kind != "set"

    def is_told(self, e: Event) -> bool:
        """Whether the owner tells it."""
        return e.args.get("_told") is self
