"""Listening to what a transport carries, without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amzmq.net import Dealer, Delivery, Publisher, Router, Subscriber, Transport
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

Listener = Callable[[bytes], None]


def nobody(frame: bytes) -> None:
    """Listens to nothing."""


class TappedTransport:
    """A transport whose traffic is listened to.

    Args:
        inner: Carries it.
        published: Told of each frame before it is published.
        answered: Told of each message before a router sends it.
        asked: Told of each message before a dealer sends it.
        told: Told of each message before a dealer's owner gets it.
        fed: Told of each frame behind a subscriber's owner.
    """

    def __init__(
        self,
        inner: Transport,
        *,
        published: Listener = nobody,
        answered: Listener = nobody,
        asked: Listener = nobody,
        told: Listener = nobody,
        fed: Listener = nobody,
    ) -> None:
        self.inner = inner
        self._published = published
        self._answered = answered
        self._asked = asked
        self._told = told
        self._fed = fed

    @property
    def max_frame_bytes(self) -> int:
        return self.inner.max_frame_bytes

    def router(
        self, endpoint: str, on_message: PeerMessageFn, on_drained: DrainedFn | None = None
    ) -> Router:
        return _Router(self.inner.router(endpoint, on_message, on_drained), self._answered)

    def publisher(
        self,
        endpoint: str,
        on_subscribe: ConfirmFn,
        on_unsubscribe: TopicFn,
        on_garbage: FrameFn,
    ) -> Publisher:
        inner = self.inner.publisher(endpoint, on_subscribe, on_unsubscribe, on_garbage)
        return _Publisher(inner, self._published)

    def dealer(self, endpoint: str, on_message: MessageFn, on_connected: ConnectedFn) -> Dealer:
        def listened(frame: bytes, blobs: Sequence[bytes]) -> None:
            self._told(frame)
            on_message(frame, blobs)

        return _Dealer(self.inner.dealer(endpoint, listened, on_connected), self._asked)

    def subscriber(self, endpoint: str, on_frames: FramesFn) -> Subscriber:
        def listened(frames: Sequence[bytes]) -> None:
            on_frames(frames)
            for frame in frames:
                self._fed(frame)

        return self.inner.subscriber(endpoint, listened)

    def end_user(self, user: str) -> int:
        return self.inner.end_user(user)

    async def close(self) -> None:
        await self.inner.close()


class _Router:
    def __init__(self, inner: Router, answered: Listener) -> None:
        self._inner = inner
        self._answered = answered
        self.user_of = inner.user_of
        self.let_go = inner.let_go
        self.close = inner.close

    @property
    def endpoint(self) -> str:
        return self._inner.endpoint

    def send(self, peer: bytes, frame: bytes, blobs: Sequence[bytes] = ()) -> Delivery:
        self._answered(frame)
        return self._inner.send(peer, frame, blobs)


class _Publisher:
    def __init__(self, inner: Publisher, published: Listener) -> None:
        self._inner = inner
        self._published = published
        self.let_go = inner.let_go
        self.close = inner.close

    @property
    def endpoint(self) -> str:
        return self._inner.endpoint

    @property
    def asker(self) -> str:
        return self._inner.asker

    def send(self, frame: bytes) -> None:
        self.send_all((frame,))

    def send_all(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self._published(frame)
        self._inner.send_all(frames)


class _Dealer:
    def __init__(self, inner: Dealer, asked: Listener) -> None:
        self._inner = inner
        self._asked = asked
        self.close = inner.close

    @property
    def connected(self) -> bool:
        return self._inner.connected

    def send(self, frame: bytes, blobs: Sequence[bytes] = ()) -> bool:
        self._asked(frame)
        return self._inner.send(frame, blobs)
