"""The conversation's two ends on the memory network, and the link between them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from amzmq.net.log import callback_failed
from amzmq.net.transport import ConnectedFn, Delivery, DrainedFn, MessageFn, PeerMessageFn

if TYPE_CHECKING:
    from amzmq.net.memory import MemoryNetwork


class ControlLink:
    """One connection of a dealer to a router. A new connection is a new link."""

    __slots__ = (
        "alive", "dealer", "hung_up", "network", "peer", "router", "to_dealer", "to_router"
    )  # fmt: skip

    def __init__(self, network: MemoryNetwork, router: MemoryRouter, dealer: MemoryDealer) -> None:
        self.network = network
        self.router = router
        self.dealer = dealer
        self.peer = network.new_peer_id()
        self.alive = True
        self.hung_up = False
        self.to_dealer = 0
        self.to_router = 0
        router.links[self.peer] = self

    def end(self) -> None:
        """Cuts the connection; what is on its way is lost."""
        self.alive = False
        self.router.links.pop(self.peer, None)

    def hang_up(self) -> None:
        """The dealer closes: what it has sent still arrives, and then the connection ends."""
        self.hung_up = True
        if not self.to_router:
            self.end()

    def has_room(self, on_the_way: int) -> bool:
        """Whether one more frame may be sent."""
        limit = self.network.peer_limit
        return limit is None or on_the_way < limit

    def send_to_dealer(self, frame: bytes, blobs: Sequence[bytes]) -> None:
        """Sends a message down."""
        arrive = partial(self._arrive_at_dealer, frame, tuple(blobs))
        self.to_dealer += self.network.carry(self.network.control_fault, frame, arrive)

    def send_to_router(self, frame: bytes, blobs: Sequence[bytes]) -> None:
        """Sends a message up."""
        arrive = partial(self._arrive_at_router, frame, tuple(blobs))
        self.to_router += self.network.carry(self.network.control_fault, frame, arrive)

    def _arrive_at_dealer(self, frame: bytes, blobs: tuple[bytes, ...]) -> None:
        self.to_dealer -= 1
        if not self.alive or self.hung_up:
            self.network.counts.cut += 1
            return
        try:
            self.dealer.on_message(frame, blobs)
        except (Exception, asyncio.CancelledError):
            callback_failed("dealer", "on_message")

    def _arrive_at_router(self, frame: bytes, blobs: tuple[bytes, ...]) -> None:
        self.to_router -= 1
        if not self.alive:
            self.network.counts.cut += 1
            return
        try:
            self.router.on_message(self.peer, frame, blobs)
        except (Exception, asyncio.CancelledError):
            callback_failed("router", "on_message")
        if self.router.on_drained is not None:
            try:
                self.router.on_drained()
            except (Exception, asyncio.CancelledError):
                callback_failed("router", "on_drained")
        if self.hung_up and not self.to_router:
            self.end()


class MemoryRouter:
    """The bound end of conversations."""

    def __init__(
        self,
        network: MemoryNetwork,
        endpoint: str,
        on_message: PeerMessageFn,
        on_drained: DrainedFn | None,
    ) -> None:
        self.endpoint = endpoint
        self.on_message = on_message
        self.on_drained = on_drained
        self.links: dict[bytes, ControlLink] = {}
        self._network = network
        self.is_closed = False
        network.routers[endpoint] = self
        network.meet(endpoint)

    def send(self, peer: bytes, frame: bytes, blobs: Sequence[bytes] = ()) -> Delivery:
        """Queues one message for one peer."""
        link = self.links.get(peer)
        if link is None:
            return Delivery.GONE
        if not link.has_room(link.to_dealer):
            return Delivery.FULL
        link.send_to_dealer(frame, blobs)
        return Delivery.SENT

    def user_of(self, peer: bytes) -> str:
        """The user behind a peer; "" when it has none, or has gone."""
        link = self.links.get(peer)
        return "" if link is None else link.dealer.user

    async def let_go(self) -> None:
        """Nothing to wait for: closing frees the address at once."""

    def close(self) -> None:
        """Unbinds; the dealers see it."""
        if self.is_closed:
            return
        self.is_closed = True
        del self._network.routers[self.endpoint]
        for link in tuple(self.links.values()):
            link.dealer.part()


class MemoryDealer:
    """The connecting end of one conversation."""

    def __init__(
        self,
        network: MemoryNetwork,
        endpoint: str,
        on_message: MessageFn,
        on_connected: ConnectedFn,
        user: str = "",
    ) -> None:
        self.on_message = on_message
        self.user = user
        self._on_connected = on_connected
        self._network = network
        self._endpoint = endpoint
        self._link: ControlLink | None = None
        self.is_closed = False
        self._connected = False
        self._loop = asyncio.get_running_loop()
        network.dealers[endpoint][self] = None
        self.meet()

    @property
    def connected(self) -> bool:
        """Whether the router was there when last seen."""
        return self._connected

    def send(self, frame: bytes, blobs: Sequence[bytes] = ()) -> bool:
        """Queues one message; False when there is nobody to take it."""
        link = self._link
        if link is None or not link.has_room(link.to_router):
            return False
        link.send_to_router(frame, blobs)
        return True

    def close(self) -> None:
        """Hangs up and reports nothing more."""
        if self.is_closed:
            return
        self.is_closed = True
        self._connected = False
        self._network.dealers[self._endpoint].pop(self, None)
        if self._link is not None:
            self._link.hang_up()
            self._link = None

    def meet(self) -> None:
        """Connects, in the next turn, if there is a router then."""
        self._loop.call_soon(self._connect)

    def part(self) -> bool:
        """Loses the connection now and says so in the next turn; False if there was none."""
        if self._link is None:
            return False
        self._link.end()
        self._link = None
        self._loop.call_soon(self._report, False)
        return True

    def _connect(self) -> None:
        router = self._network.routers.get(self._endpoint)
        if router is None or self.is_closed or self._link is not None:
            return
        if self._network.partitioned or self.user in self._network.refused:
            return
        self._link = ControlLink(self._network, router, self)
        self._report(True)

    def _report(self, connected: bool) -> None:
        if self.is_closed or connected == self._connected:
            return
        self._connected = connected
        try:
            self._on_connected(connected)
        except (Exception, asyncio.CancelledError):
            callback_failed("dealer", "on_connected")
