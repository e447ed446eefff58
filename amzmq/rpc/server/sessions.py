"""The clients of a Mux: who is here, on which connection, and who left lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from amzmq.rpc.server.feed import Feed
from amzmq.rpc.server.server import ClientId, Server

DEPARTED_KEPT = 256
"""Clients whose results and payloads are kept after they left, in case they come back."""

PINGS_A_BEAT = 100
"""Clients that answer a heartbeat, of however many: about 1 % of a core at one a second. SWIM
and its kin likewise keep a member's load the same whatever the size of the group."""


class Sessions:
    """Servers by connection.

    Rules: a connection has one server, and a client one connection: who says Hello again, here
    or elsewhere, goes on where it was.
    """

    def __init__(self) -> None:
        self._servers: dict[bytes, Server] = {}
        self._peers: dict[ClientId, bytes] = {}
        self._departed: OrderedDict[ClientId, Server] = OrderedDict()

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[Server]:
        return iter(list(self._servers.values()))

    @property
    def ping_every(self) -> int:
        """The heartbeats after which a client is to ping again: all of them one after the other."""
        return max(1, -(-len(self._servers) // PINGS_A_BEAT))

    def of(self, peer: bytes) -> Server | None:
        """The server of a connection."""
        return self._servers.get(peer)

    def peers(self) -> list[tuple[bytes, Server]]:
        """All connections with their servers."""
        return list(self._servers.items())

    def following(self) -> list[Feed]:
        """The feeds that are followed, each as often as somebody does."""
        feeds = [server.feed for server in self]
        return feeds + [followed.feed for server in self for followed in server.followed]

    def named(self, name: str) -> Server | None:
        """The server of a client, by its id or by its name."""
        for server in self:
            if server.client.name in (name, f"rc-{name}"):
                return server
        return None

    def admit(self, peer: bytes, server: Server) -> bool:
        """A client is here now; whether an earlier server of it is continued."""
        for earlier_peer in {peer, self._peers.get(server.client, peer)}:
            self.retire(earlier_peer)
        earlier = self._departed.pop(server.client, None)
        continued = earlier is not None and earlier.feed is server.feed
        if earlier is not None:
            if continued:
                server.take_over(earlier)
                earlier.leave_stream()
            else:
                earlier.forget()
        self._servers[peer] = server
        self._peers[server.client] = peer
        return continued

    def would_be(self, peer: bytes, client: ClientId) -> int:
        """How many clients there are once this one is here as well."""
        is_here = client in self._peers or peer in self._servers
        return len(self._servers) + (not is_here)

    def retire(self, peer: bytes) -> Server | None:
        """End a server; what its client may ask for when it comes back is kept for a while."""
        server = self._servers.pop(peer, None)
        if server is None:
            return None
        del self._peers[server.client]
        server.close()
        self._departed[server.client] = server
        if len(self._departed) > DEPARTED_KEPT:
            _, oldest = self._departed.popitem(last=False)
            oldest.forget()
        return server

    def make_room(self, user: str, is_enough: Callable[[], bool]) -> None:
        """Forget clients of a user that left, the first of them first, until it is enough."""
        if is_enough():
            return
        for client in [client for client in self._departed if client.user == user]:
            self._departed.pop(client).forget()
            if is_enough():
                return

    def forget_departed(self) -> None:
        """Nobody will come back: the Mux stops."""
        departed, self._departed = self._departed, OrderedDict()
        for server in departed.values():
            server.forget()
