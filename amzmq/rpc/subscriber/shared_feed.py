"""One SUB socket for many streams: each frame goes to whoever follows its stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from amzmq.net import Subscriber, Transport
from amzmq.net.transport import FramesFn
from amzmq.wire.feed import STREAM_ID_SIZE


class SharedFeed:
    """Connects one socket to each feed, and gives every follower its part of it.

    Args:
        transport: Makes the sockets.

    Attributes:
        strangers: Frames of streams that nobody follows here any more.
    """

    def __init__(self, transport: Callable[[], Transport]) -> None:
        self.strangers = 0
        self._transport = transport
        self._sockets: dict[str, _Socket] = {}

    @property
    def sockets(self) -> int:
        """How many sockets are open."""
        return len(self._sockets)

    def subscriber(self, endpoint: str, on_frames: FramesFn) -> Subscriber:
        """A part of the socket that is connected to `endpoint`."""
        socket = self._sockets.get(endpoint)
        if socket is None:
            socket = _Socket(self, endpoint)
            socket.real = self._transport().subscriber(endpoint, socket.on_frames)
            self._sockets[endpoint] = socket
        return _Part(socket, on_frames)

    def release(self, endpoint: str) -> None:
        """Nobody uses a socket any more."""
        socket = self._sockets.pop(endpoint, None)
        if socket is not None and socket.real is not None:
            socket.real.close()

    async def close(self) -> None:
        """Close what is still open."""
        for endpoint in list(self._sockets):
            self.release(endpoint)


class _Socket:
    """A socket and its parts, by the streams that they follow."""

    def __init__(self, shared: SharedFeed, endpoint: str) -> None:
        self.real: Subscriber | None = None
        self.parts: dict[bytes, FramesFn] = {}
        self._shared = shared
        self._endpoint = endpoint

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Frames of the feed, handed on in runs of one stream each: all keep their order."""
        for stream_id, run in groupby(frames, _stream_of):
            part = self.parts.get(stream_id)
            if part is None:
                self._shared.strangers += len(list(run))  # on their way when their stream was left
            else:
                part(tuple(run))

    def leave(self, topic: bytes) -> None:
        """A stream is of no interest any more."""
        self.parts.pop(topic, None)
        if self.real is not None:
            self.real.unsubscribe(topic)
        if not self.parts:
            self._shared.release(self._endpoint)


class _Part:
    """What one follower has of a socket."""

    def __init__(self, socket: _Socket, on_frames: FramesFn) -> None:
        self._socket = socket
        self._on_frames = on_frames
        self._topics: set[bytes] = set()

    def subscribe(self, topic: bytes) -> None:
        """Ask for a stream; again renews."""
        self._topics.add(topic)
        self._socket.parts[topic] = self._on_frames
        if self._socket.real is not None:
            self._socket.real.subscribe(topic)

    def unsubscribe(self, topic: bytes) -> None:
        """End a subscription."""
        if topic in self._topics:
            self._topics.discard(topic)
            self._socket.leave(topic)

    def close(self) -> None:
        """End them all; the socket closes with its last part."""
        for topic in tuple(self._topics):
            self.unsubscribe(topic)


def _stream_of(frame: bytes) -> bytes:
    return frame[:STREAM_ID_SIZE]
