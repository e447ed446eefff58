"""What a client may do with a machine, whose states may grow while it is here."""

from __future__ import annotations

from collections.abc import Callable

from amzmq.machine import Machine
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.rights import MachineRights


class HeldRights:
    """The rights of one client on one machine, asked for again with each schema of it.

    Args:
        source: The machine.
        ask: Tells the rights; None for everything.

    Attributes:
        are_limited: Whether there is anything that the client may not.
    """

    __slots__ = ("_ask", "_known", "_known_for", "_source", "are_limited")

    def __init__(
        self, source: Machine | NetworkMachine, ask: Callable[[], MachineRights] | None
    ) -> None:
        self.are_limited = ask is not None
        self._source = source
        self._ask = ask
        self._known = None if ask is None else ask()
        self._known_for = source.compiled

    @property
    def now(self) -> MachineRights | None:
        """What the client may do; None for everything."""
        compiled = self._source.compiled
        if self._ask is not None and compiled is not self._known_for:
            self._known = self._ask()
            self._known_for = compiled
        return self._known
