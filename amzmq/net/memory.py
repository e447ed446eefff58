"""The transport inside one process: same faces, no sockets, faults on demand.

Frames arrive through `loop.call_soon`, in order for each connection, unless a fault delays
them. Connections behave like those of sockets: they end with either side or a partition, take
along what was on the way, and come back by themselves under a new peer id.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from amzmq.errors import AddressInUse, AddressInvalid, NetError
from amzmq.net.faults import Fault, FaultCounts
from amzmq.net.memory_conversation import MemoryDealer, MemoryRouter
from amzmq.net.memory_feed import MemoryPublisher, MemorySubscriber
from amzmq.net.options import SocketOptions
from amzmq.net.transport import (
    ConfirmFn,
    ConnectedFn,
    DrainedFn,
    FrameFn,
    FramesFn,
    MessageFn,
    PeerMessageFn,
    TopicFn,
)


class MemoryNetwork:
    """The world that memory transports share.

    Args:
        seed: Where the peer ids come from; the same seed gives the same ids.

    Attributes:
        feed_fault: Decides about each feed frame for each subscriber; None is no fault.
        control_fault: Decides about each conversation message; None is no fault.
        counts: What happened to frames.
        peer_limit: Frames on the way to one peer before it is FULL; None is no limit.
        refused: Users who get no connection; see `refuse`.
    """

    def __init__(self, seed: int = 0) -> None:
        self.feed_fault: Fault | None = None
        self.control_fault: Fault | None = None
        self.counts = FaultCounts()
        self.peer_limit: int | None = None
        self.refused: set[str] = set()
        self.routers: dict[str, MemoryRouter] = {}
        self.publishers: dict[str, MemoryPublisher] = {}
        # Dicts instead of sets: their order is the same in every run of a seeded test.
        self.dealers: defaultdict[str, dict[MemoryDealer, None]] = defaultdict(dict)
        self.subscribers: defaultdict[str, dict[MemorySubscriber, None]] = defaultdict(dict)
        self._random = random.Random(seed)  # nosec B311  # faults of a test
        self._next_port = 1
        self._partitioned = False

    def transport(self, user: str = "") -> MemoryTransport:
        """A transport on this network.

        Args:
            user: Who connects by it, as a key would prove between processes; "" has none.
        """
        return MemoryTransport(self, user)

    def end_user(self, user: str) -> int:
        """Ends all connections of a user; returns how many of his sockets were connected."""
        ended = 0
        for endpoint in [*dict.fromkeys((*self.dealers, *self.subscribers))]:
            for dealer in self.dealers.get(endpoint, ()):
                ended += dealer.user == user and dealer.part()
            for subscriber in self.subscribers.get(endpoint, ()):
                ended += subscriber.user == user and subscriber.part()
        return ended

    def refuse(self, user: str, refused: bool) -> None:
        """Ends a user's connections and lets none begin, until it is called with False."""
        if not refused:
            self.refused.discard(user)
        elif user not in self.refused:
            self.refused.add(user)
            self.end_user(user)
        for endpoint in [*self.dealers, *self.subscribers]:
            self.meet(endpoint)

    @property
    def partitioned(self) -> bool:
        """Whether everything is cut off from everything."""
        return self._partitioned

    def partition(self, cut: bool) -> None:
        """Ends all connections and lets none begin, until it is called with False."""
        if cut == self._partitioned:
            return
        self._partitioned = cut
        for endpoint in [*self.dealers, *self.subscribers]:
            if cut:
                self.part(endpoint)
            else:
                self.meet(endpoint)

    def inject_garbage(self, endpoint: str, frame: bytes) -> None:
        """Lets a stranger send `frame` to the publisher at `endpoint`."""
        publisher = self.publishers[endpoint]
        asyncio.get_running_loop().call_soon(publisher.take_garbage, frame)

    def claim(self, endpoint: str) -> str:
        """Checks an endpoint that is to be bound, and resolves port 0 and `*`."""
        check_endpoint(endpoint)
        if endpoint.endswith((":0", ":*")):
            endpoint = f"{endpoint[:-1]}{self._next_port}"
            self._next_port += 1
        if endpoint in self.routers or endpoint in self.publishers:
            raise AddressInUse(endpoint)
        return endpoint

    def meet(self, endpoint: str) -> None:
        """Connects whoever waits for what is bound at `endpoint`."""
        if self._partitioned:
            return
        for dealer in self.dealers.get(endpoint, ()):
            dealer.meet()
        for subscriber in self.subscribers.get(endpoint, ()):
            subscriber.meet()

    def part(self, endpoint: str) -> None:
        """Ends all connections to `endpoint`."""
        for dealer in self.dealers.get(endpoint, ()):
            dealer.part()
        for subscriber in self.subscribers.get(endpoint, ()):
            subscriber.part()

    def new_peer_id(self) -> bytes:
        """Five bytes beginning with zero, the form that ZeroMQ's own ids have."""
        return b"\x00" + self._random.randbytes(4)

    def carry(self, fault: Fault | None, frame: bytes, arrive: Callable[[], None]) -> int:
        """Sends a frame on its way; returns how often it will arrive."""
        loop = asyncio.get_running_loop()
        if fault is None:
            loop.call_soon(arrive)
            return 1
        delays = fault(frame)
        self.counts.note(delays)
        for delay in delays:
            if delay > 0.0:
                loop.call_later(delay, arrive)
            else:
                loop.call_soon(arrive)
        return len(delays)


_S = TypeVar("_S", MemoryRouter, MemoryPublisher, MemoryDealer, MemorySubscriber)


class MemoryTransport:
    """One part's sockets on a memory network."""

    __slots__ = ("_closed", "_network", "_open", "_user")

    def __init__(self, network: MemoryNetwork, user: str = "") -> None:
        self._network = network
        self._user = user
        self._open: list[MemoryRouter | MemoryPublisher | MemoryDealer | MemorySubscriber] = []
        self._closed = False

    @property
    def max_frame_bytes(self) -> int:
        """The largest frame that may be sent; what ZeroMQ has by default."""
        return SocketOptions().max_frame_bytes

    def router(
        self, endpoint: str, on_message: PeerMessageFn, on_drained: DrainedFn | None = None
    ) -> MemoryRouter:
        """Binds a router."""
        self._check()
        router = MemoryRouter(self._network, self._network.claim(endpoint), on_message, on_drained)
        return self._keep(router)

    def publisher(
        self,
        endpoint: str,
        on_subscribe: ConfirmFn,
        on_unsubscribe: TopicFn,
        on_garbage: FrameFn,
    ) -> MemoryPublisher:
        """Binds a publisher that asks `on_subscribe` for every subscription."""
        self._check()
        publisher = MemoryPublisher(
            self._network, self._network.claim(endpoint), on_subscribe, on_unsubscribe, on_garbage
        )
        return self._keep(publisher)

    def dealer(
        self, endpoint: str, on_message: MessageFn, on_connected: ConnectedFn
    ) -> MemoryDealer:
        """Connects a dealer."""
        self._check()
        check_endpoint(endpoint)
        dealer = MemoryDealer(self._network, endpoint, on_message, on_connected, self._user)
        return self._keep(dealer)

    def subscriber(self, endpoint: str, on_frames: FramesFn) -> MemorySubscriber:
        """Connects a subscriber."""
        self._check()
        check_endpoint(endpoint)
        subscriber = MemorySubscriber(self._network, endpoint, on_frames, self._user)
        return self._keep(subscriber)

    def end_user(self, user: str) -> int:
        """Ends all connections of a user; returns how many of his sockets were connected."""
        return self._network.end_user(user)

    async def close(self) -> None:
        """Closes what is open."""
        self._closed = True
        for sock in self._open:
            sock.close()
        self._open.clear()

    def _keep(self, sock: _S) -> _S:
        """Notes a socket to be closed at the end; those that were closed meanwhile are let go."""
        self._open = [other for other in self._open if not other.is_closed]
        self._open.append(sock)
        return sock

    def _check(self) -> None:
        if self._closed:
            raise NetError("this transport is closed; make a new one")


def check_endpoint(endpoint: str) -> None:
    """Any name will do here, as long as it has the form of an endpoint."""
    scheme, found, place = endpoint.partition("://")
    if not (scheme and found and place):
        raise AddressInvalid(endpoint, "malformed")
