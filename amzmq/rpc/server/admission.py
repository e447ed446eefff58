"""Who may become a client, and of what: the decision at each Hello (spec rpc 1.4, 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from amzmq.machine import Machine
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.server import ClientId, Server
from amzmq.wire.view import View

MakeServerFn: TypeAlias = Callable[[bytes, ClientId, Machine | NetworkMachine, View], Server]
"""Makes the server of a connection: its peer id, who it is, the machine, the view."""


FindFn: TypeAlias = Callable[[str, str], Machine | NetworkMachine]
"""Finds the machine of an id for a user; "" is the default one."""


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """A client that asks for a server.

    Attributes:
        client_id: Id of the client's machine, ``rc-<name>``.
        machine_id: The machine it wants; "" for whichever is served.
        view: What of it.
        user: Who the client is by its key; "" where connections are not authenticated.
    """

    client_id: str
    machine_id: str
    view: View
    user: str
    _peer: bytes = field(repr=False)
    _incarnation: bytes = field(repr=False)
    _find: FindFn = field(repr=False)
    _make_server: MakeServerFn = field(repr=False)

    def serve(
        self, source: Machine | NetworkMachine | None = None, view: View | None = None
    ) -> Server:
        """The server of this client.

        Args:
            source: What it gets to follow; the machine it wants, if None.
            view: What of it; what it asked for, if None.

        Raises:
            Refused: There is no such machine here, or the view does not fit it.
        """
        client = ClientId(self.client_id, self._incarnation, self.user)
        machine = self._find(self.user, self.machine_id) if source is None else source
        return self._make_server(self._peer, client, machine, view or self.view)


NewServerFn: TypeAlias = Callable[[ServerRequest], Server]
"""Makes the server of each client; raises `Refused` or `NoAccess` to turn it away."""


def default_server(request: ServerRequest) -> Server:
    """Everybody may follow the machine that it asks for."""
    return request.serve()
