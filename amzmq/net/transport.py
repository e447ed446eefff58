"""The seam between conversations and whatever carries their frames.

Four faces, two pairs: `Router` and `Dealer` hold conversations, `Publisher` and `Subscriber`
carry the feed. Everything is called on the event loop's own thread, and every callback runs
there as well. A callback that raises is logged by `amzmq.net`; what it was not handed yet still
arrives. A callback may close any socket, its own included.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Protocol

MessageFn = Callable[[bytes, Sequence[bytes]], None]
"""What a dealer calls: the frame, and the blobs that came behind it (usually none)."""

PeerMessageFn = Callable[[bytes, bytes, Sequence[bytes]], None]
"""What a router calls: the peer's id, the frame, the blobs."""

DrainedFn = Callable[[], None]
ConnectedFn = Callable[[bool], None]
TopicFn = Callable[[bytes], None]
ConfirmFn = Callable[[bytes], bool]
FrameFn = Callable[[bytes], None]
FramesFn = Callable[[Sequence[bytes]], None]


class Delivery(enum.Enum):
    """What became of a frame given to `Router.send`."""

    SENT = "sent"
    """Queued for the peer. It may still be lost with the connection."""
    GONE = "gone"
    """No such peer now; an id that went away never comes back."""
    FULL = "full"
    """The peer's queue is at its high-water mark; other peers are not affected."""


class Router(Protocol):
    """The bound end of conversations. Peer ids are made here, fresh for each connection."""

    @property
    def endpoint(self) -> str:
        """The real address, with port 0 and `*` resolved."""

    def send(self, peer: bytes, frame: bytes, blobs: Sequence[bytes] = ()) -> Delivery:
        """Queues one message for one peer and never waits."""

    def user_of(self, peer: bytes) -> str:
        """The user that a peer's key stands for; "" without a key, and once it has gone."""

    async def let_go(self) -> None:
        """Waits until the address is free for others; connections go on until `close`."""

    def close(self) -> None:
        """Closes the socket; closing again does nothing."""


class Dealer(Protocol):
    """The connecting end of one conversation. It reconnects by itself, for ever."""

    @property
    def connected(self) -> bool:
        """Whether a router was there when last seen; follows `on_connected`."""

    def send(self, frame: bytes, blobs: Sequence[bytes] = ()) -> bool:
        """Queues one message; False when there is nobody to take it and nothing was queued."""

    def close(self) -> None:
        """Closes the socket; closing again does nothing."""


class Publisher(Protocol):
    """The bound end of the feed. A subscriber gets only what was confirmed to it.

    `on_subscribe` and `on_unsubscribe` are not a balanced pair: a renewed subscription is
    asked twice and ended once, and a refused one is ended as well. So look topics up, do not
    count with them.
    """

    @property
    def endpoint(self) -> str:
        """The real address, with port 0 and `*` resolved."""

    @property
    def asker(self) -> str:
        """Inside `on_subscribe`: the user whose key asks; "" without a key."""

    def send(self, frame: bytes) -> None:
        """Sends a frame to all whose confirmed topic begins it; drops for those who are full."""

    def send_all(self, frames: Sequence[bytes]) -> None:
        """Sends several, in their order."""

    async def let_go(self) -> None:
        """Waits until the address is free for others; connections go on until `close`."""

    def close(self) -> None:
        """Closes the socket; closing again does nothing."""


class Subscriber(Protocol):
    """The connecting end of the feed. Subscriptions survive reconnects."""

    def subscribe(self, topic: bytes) -> None:
        """Asks for all frames that begin with `topic`.

        Asking again renews: the publisher is asked once more, so that a subscription refused
        or lost earlier gets another chance. One `unsubscribe` still ends it.
        """

    def unsubscribe(self, topic: bytes) -> None:
        """Ends a subscription; a topic never asked for is ignored."""

    def close(self) -> None:
        """Closes the socket; closing again does nothing."""


class Transport(Protocol):
    """Makes the sockets of one program part and closes what is left of them.

    `max_frame_bytes` is what both ends read at most; a larger frame is not sent.

    Every method may raise `AddressInvalid`, the binding two `AddressInUse` as well.
    """

    @property
    def max_frame_bytes(self) -> int:
        """The largest frame that may be sent."""

    def router(
        self, endpoint: str, on_message: PeerMessageFn, on_drained: DrainedFn | None = None
    ) -> Router:
        """Binds a router.

        Args:
            endpoint: Where to bind.
            on_message: Gets each message.
            on_drained: Called behind the last of the messages that were there together, so that
                work for all of them can be done once.
        """

    def publisher(
        self,
        endpoint: str,
        on_subscribe: ConfirmFn,
        on_unsubscribe: TopicFn,
        on_garbage: FrameFn,
    ) -> Publisher:
        """Binds a publisher.

        Args:
            endpoint: Where to bind.
            on_subscribe: Says whether this topic may be had; True confirms it at once.
            on_unsubscribe: A subscriber left the topic, or died.
            on_garbage: A peer sent what is no subscription, or one that cannot be trusted.
        """

    def dealer(self, endpoint: str, on_message: MessageFn, on_connected: ConnectedFn) -> Dealer:
        """Connects a dealer; `on_connected` reports every edge, starting from False."""

    def subscriber(self, endpoint: str, on_frames: FramesFn) -> Subscriber:
        """Connects a subscriber.

        Args:
            endpoint: Where the publisher is.
            on_frames: Gets what had arrived together, in its order.
        """

    def end_user(self, user: str) -> int:
        """Ends a user's connections, who may come back; returns how many there were."""

    async def close(self) -> None:
        """Closes all sockets still open and waits, within a bound, until they are released."""
