"""One machine of many, and the client that follows it."""

from __future__ import annotations

from dataclasses import dataclass

from amzmq.errors import NotConnected
from amzmq.rpc.client.client import Client
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.replica.netmach import NetworkMachine


@dataclass(slots=True, eq=False)
class Entry:
    """A machine somewhere, and the client that follows it.

    Attributes:
        addr: Where it is served.
        info: What the last listing said of it.
        client: Follows it.
    """

    addr: str
    info: MachineInfo
    client: Client

    @property
    def id(self) -> str:
        """The machine's id."""
        return self.info.id

    @property
    def parent(self) -> str:
        """Id of its parent; "" without one."""
        return self.info.parent

    @property
    def args(self) -> tuple[str, ...]:
        """``State.argument`` names that it knows."""
        return self.info.args

    @property
    def is_ready(self) -> bool:
        """Whether its replica is level and calls go through."""
        return self.client.mach.is_("Ready")

    @property
    def is_connecting(self) -> bool:
        """Whether its client is on the way there."""
        return not self.is_ready and self.client.mach.is_("Start")

    @property
    def replica(self) -> NetworkMachine:
        """Its replica.

        Raises:
            NotConnected: It is not connected at this moment.
        """
        if not self.is_ready:
            raise NotConnected(f"{self.id} at {self.addr} is not connected; see status")
        return self.client.net_mach

    def last_seen(self) -> NetworkMachine | None:
        """Its replica, even if the connection is lost; None before the first."""
        try:
            return self.client.net_mach
        except NotConnected:
            return None

    def has(self, *states: str) -> bool:
        """Whether all these are states of it; unknown ones of a machine never reached are not."""
        replica = self.last_seen()
        return not states if replica is None else replica.has(*states)

    def is_active(self, state: str) -> bool:
        """Whether the state is active, as far as is known."""
        replica = self.last_seen()
        return state in self.info.active if replica is None else replica.is_(state)

    def time_sum(self, *states: str) -> int:
        """The sum of the ticks, of all or of these states, as far as is known."""
        replica = self.last_seen()
        if replica is not None:
            return replica.time(*states).sum()
        return 0 if states else self.info.time_sum
