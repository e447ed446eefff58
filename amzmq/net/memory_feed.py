"""The feed's two ends on the memory network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from amzmq.net.log import callback_failed
from amzmq.net.transport import ConfirmFn, FrameFn, FramesFn, TopicFn

if TYPE_CHECKING:
    from amzmq.net.memory import MemoryNetwork


class MemoryPublisher:
    """The bound end of the feed."""

    def __init__(
        self,
        network: MemoryNetwork,
        endpoint: str,
        on_subscribe: ConfirmFn,
        on_unsubscribe: TopicFn,
        on_garbage: FrameFn,
    ) -> None:
        self.endpoint = endpoint
        # What each connected subscriber asked for, and whether that was confirmed.
        self.asked: dict[MemorySubscriber, dict[bytes, bool]] = {}
        self._network = network
        self._on_subscribe = on_subscribe
        self._on_unsubscribe = on_unsubscribe
        self._on_garbage = on_garbage
        self.asker = ""
        self.is_closed = False
        network.publishers[endpoint] = self
        network.meet(endpoint)

    def send(self, frame: bytes) -> None:
        """Sends a frame to all whose confirmed topic begins it."""
        for subscriber, topics in tuple(self.asked.items()):
            if subscriber.publisher is self and any(
                ok and frame.startswith(topic) for topic, ok in topics.items()
            ):
                arrive = partial(subscriber.arrive, subscriber.incarnation, frame)
                self._network.carry(self._network.feed_fault, frame, arrive)

    def send_all(self, frames: Sequence[bytes]) -> None:
        """Sends several, in their order."""
        for frame in frames:
            self.send(frame)

    async def let_go(self) -> None:
        """Nothing to wait for: closing frees the address at once."""

    def close(self) -> None:
        """Unbinds; the subscribers wait for the next publisher."""
        if self.is_closed:
            return
        self.is_closed = True
        del self._network.publishers[self.endpoint]
        for subscriber in tuple(self.asked):
            subscriber.part()
        self.asked.clear()

    def take_subscription(
        self, subscriber: MemorySubscriber, incarnation: int, topic: bytes
    ) -> None:
        """A subscriber asks, unless its connection ended while the question was on its way."""
        if self.is_closed or incarnation != subscriber.incarnation:
            return
        self.asked.setdefault(subscriber, {}).setdefault(topic, False)
        self.asker = subscriber.user
        try:
            confirmed = self._on_subscribe(topic)
        except (Exception, asyncio.CancelledError):
            callback_failed("publisher", "on_subscribe")
            return
        finally:
            self.asker = ""
        if confirmed is True and topic in self.asked.get(subscriber, ()):
            self.asked[subscriber][topic] = True

    def take_end(self, subscriber: MemorySubscriber, topics: Sequence[bytes]) -> None:
        """A subscriber leaves topics, or the network."""
        for topic in topics:
            asked = self.asked.get(subscriber, {})
            if self.is_closed or asked.pop(topic, None) is None:
                continue
            if not asked:
                del self.asked[subscriber]
            try:
                self._on_unsubscribe(topic)
            except (Exception, asyncio.CancelledError):
                callback_failed("publisher", "on_unsubscribe")

    def take_garbage(self, frame: bytes) -> None:
        """A stranger sends what is no subscription."""
        if self.is_closed:
            return
        try:
            self._on_garbage(frame)
        except (Exception, asyncio.CancelledError):
            callback_failed("publisher", "on_garbage")


class MemorySubscriber:
    """The connecting end of the feed."""

    def __init__(
        self, network: MemoryNetwork, endpoint: str, on_frames: FramesFn, user: str = ""
    ) -> None:
        # Counts connections: a frame of an earlier one must not arrive on a later one.
        self.incarnation = 0
        self.user = user
        self._on_frames = on_frames
        self._network = network
        self._endpoint = endpoint
        self._topics: dict[bytes, None] = {}
        self.publisher: MemoryPublisher | None = None
        self.is_closed = False
        self._loop = asyncio.get_running_loop()
        network.subscribers[endpoint][self] = None
        self.meet()

    def subscribe(self, topic: bytes) -> None:
        """Asks for all frames that begin with `topic`; asking again renews."""
        if self.is_closed:
            return
        self._topics[topic] = None
        self._ask(topic)

    def unsubscribe(self, topic: bytes) -> None:
        """Ends a subscription; a topic never asked for is ignored."""
        if topic not in self._topics:
            return
        del self._topics[topic]
        if self.publisher is not None:
            self._loop.call_soon(self.publisher.take_end, self, (topic,))

    def close(self) -> None:
        """Leaves the network."""
        if self.is_closed:
            return
        self.is_closed = True
        self._network.subscribers[self._endpoint].pop(self, None)
        self.part()
        self._topics.clear()

    def meet(self) -> None:
        """Connects, in the next turn, if there is a publisher then."""
        self._loop.call_soon(self._connect)

    def part(self) -> bool:
        """Loses the connection; the publisher notices in the next turn. False if none was."""
        publisher, self.publisher = self.publisher, None
        self.incarnation += 1
        if publisher is not None:
            topics = tuple(publisher.asked.get(self, ()))
            self._loop.call_soon(publisher.take_end, self, topics)
        return publisher is not None

    def arrive(self, incarnation: int, frame: bytes) -> None:
        """A frame arrives, if its connection still is this one and somebody wants it."""
        if incarnation != self.incarnation or self.publisher is None:
            self._network.counts.cut += 1
            return
        if not any(frame.startswith(topic) for topic in self._topics):
            return
        try:
            self._on_frames((frame,))
        except (Exception, asyncio.CancelledError):
            callback_failed("subscriber", "on_frames")

    def _connect(self) -> None:
        publisher = self._network.publishers.get(self._endpoint)
        if publisher is None or self._network.partitioned or self.is_closed:
            return
        if self.publisher is None and self.user not in self._network.refused:
            self.publisher = publisher
            for topic in self._topics:
                self._ask(topic)

    def _ask(self, topic: bytes) -> None:
        if self.publisher is not None:
            self._loop.call_soon(self.publisher.take_subscription, self, self.incarnation, topic)
