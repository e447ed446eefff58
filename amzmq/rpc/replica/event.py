"""What handlers and tracers of a replica get to see of an update (spec rpc 5.2)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from amzmq.machine import MutationType, Source, Time

if TYPE_CHECKING:
    from amzmq.rpc.replica.netmach import NetworkMachine
    from amzmq.wire.feed import Update


class ReplicaTransition:
    """One applied update.

    Updates are merged diffs, so it has no veto; with ``sync_mutations`` each is one mutation of
    the source, and has its type and called states.

    Attributes:
        machine: The replica.
        time_before, time_after: Its time around the update.
        activated, deactivated: Names of the states that changed.
        type: Of the mutation; "set" for merged ones.
        called: The states that the mutation called; all active ones for merged updates.
        is_completed: Whether everybody has been told.
    """

    __slots__ = (
        "activated", "called", "deactivated", "id", "is_completed", "machine", "time_after",
        "time_before", "type",
    )  # fmt: skip

    is_accepted = True
    is_auto = False
    is_check = False

    def __init__(
        self,
        machine: NetworkMachine,
        time_before: Time,
        time_after: Time,
        activated: list[str],
        deactivated: list[str],
        cause: Update | None = None,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.machine = machine
        self.time_before = time_before
        self.time_after = time_after
        self.activated = activated
        self.deactivated = deactivated
        self.is_completed = False
        if cause is None:
            self.type = str(MutationType.SET)
            self.called = machine.active_states()
        else:
            self.type = str(MutationType(cause.kind))
            self.called = [machine.state_names[at] for at in cause.called]


class ReplicaEvent:
    """What a handler of a replica receives.

    Attributes:
        name: The event, e.g. ``OpenState``.
        args: Empty: arguments do not travel with updates.
        machine: The replica.
        transition: The update being applied.
    """

    __slots__ = ("args", "machine", "name", "transition")

    def __init__(self, name: str, machine: NetworkMachine, transition: ReplicaTransition) -> None:
        self.name = name
        self.args: Mapping[str, object] = {}
        self.machine = machine
        self.transition = transition

    @property
    def machine_id(self) -> str:
        """Id of the machine at the source."""
        return self.machine.remote_id

    @property
    def transition_id(self) -> str:
        """Id of the update."""
        return self.transition.id

    def source(self) -> Source:
        """Where a mutation made with this event comes from."""
        return Source(self.machine_id, self.transition_id, self.transition.time_before.sum())

    def is_valid(self) -> bool:
        """Whether the update is still being told of."""
        return not self.transition.is_completed
