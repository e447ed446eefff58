"""The machines that one client follows besides that of its Hello; it only reads them."""

from __future__ import annotations

from collections.abc import Iterator

from amzmq.rpc.server.feed import Feed
from amzmq.rpc.server.held_rights import HeldRights
from amzmq.rpc.server.limits import Guard, Limits
from amzmq.wire.codec import Value
from amzmq.wire.writer import StreamWriter

FOLLOWED_LIMIT = Limits().followed
"""Further machines of one client, by default."""


class FollowedStream:
    """One of them.

    Args:
        feed: Of the machine.
        stream: The view of it.
        held: What the client may do with it.
        user: Whose the client is.

    Attributes:
        number: The newest message that the client said it had applied.
    """

    __slots__ = ("_user", "feed", "held", "number", "stream")

    def __init__(self, feed: Feed, stream: StreamWriter, held: HeldRights, user: str = "") -> None:
        self._user = user
        self.feed = feed
        self.stream = stream
        self.held = held
        self.number = -1

    @property
    def lag(self) -> int:
        """Messages between the stream's head and what the client said it had applied."""
        return self.stream.head - max(self.number, 0)

    def leave(self) -> None:
        """It is followed no longer."""
        self.feed.leave(self.stream, self._user)


class FollowedStreams:
    """All of them, by stream.

    Args:
        guard: Knows how many there may be.
    """

    __slots__ = ("_guard", "_streams")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._streams: dict[bytes, FollowedStream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[FollowedStream]:
        return iter(list(self._streams.values()))

    def of(self, stream_id: bytes) -> FollowedStream | None:
        """The one of a stream."""
        return self._streams.get(stream_id)

    def add(self, followed: FollowedStream) -> None:
        """Follow one more; one that is followed already is left once.

        Raises:
            LimitExceeded: There are too many.
        """
        stream_id = followed.stream.stream_id
        if stream_id in self._streams:
            followed.leave()
            return
        if len(self._streams) >= self._guard.limits.followed:
            followed.leave()
            text = f"{len(self._streams)} machines are followed over this connection"
            raise self._guard.exceeded("followed", text, "leave some, or connect once more")
        self._streams[stream_id] = followed

    def remove(self, stream_id: bytes) -> None:
        """Follow one less."""
        followed = self._streams.pop(stream_id, None)
        if followed is not None:
            followed.leave()

    def end(self, feed: Feed | None) -> list[bytes]:
        """A machine is not served any more; returns the ids of its streams."""
        ended = [at for at, followed in self._streams.items() if followed.feed is feed]
        for stream_id in ended:
            self.remove(stream_id)
        return ended

    def clear(self) -> None:
        """Follow none."""
        for stream_id in list(self._streams):
            self.remove(stream_id)

    def applied(self, positions: list[Value]) -> None:
        """The client says how far it is: [stream id, number] of each."""
        for position in positions:
            match position:
                case [bytes(stream_id), int(number)] if stream_id in self._streams:
                    self._streams[stream_id].number = number
