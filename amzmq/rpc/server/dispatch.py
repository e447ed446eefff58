"""What arrives at a Mux's ROUTER: read, attributed to a client, handed to whom it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from amzmq.errors import FrameInvalid, LimitExceeded
from amzmq.rpc.server.arrivals import Arrivals
from amzmq.rpc.server.counters import FirstOnly, MuxCounters
from amzmq.rpc.server.limits import Guard
from amzmq.rpc.server.reception import Reception
from amzmq.rpc.server.server import Server
from amzmq.rpc.server.sessions import Sessions
from amzmq.rpc.server.turn import Turn
from amzmq.wire.control import (
    Ack,
    Bye,
    Fetch,
    Follow,
    Hello,
    List,
    Listing,
    Message,
    Mutate,
    Ping,
    Refusal,
    RefusalCode,
    Sync,
    Unfollow,
    Unwatch,
    Watch,
)
from amzmq.wire.control_frames import from_frame


@dataclass(frozen=True, slots=True)
class Exits:
    """How a dispatch reaches the rest of its Mux.

    Attributes:
        send: Sends a message, or one that is encoded, to a connection.
        user_of: Who a connection belongs to by its key; "" where that is not known.
        listing: What a connection may know of the machines; the number is that of its request.
        fetch: Answers a Fetch.
        drop: A client went.
    """

    send: Callable[[bytes, Message | bytes], None]
    user_of: Callable[[bytes], str]
    listing: Callable[[bytes, int], Listing]
    fetch: Callable[[bytes, Server, Fetch], None]
    drop: Callable[[bytes], None]


class Dispatch:
    """Hears the peers of a ROUTER.

    Args:
        sessions: The clients.
        arrivals: Those who say Hello.
        reception: Decides about further machines.
        turn: Told of the mutations that are read.
        counters: Where it counts.
        first: Its log.
        guard: Knows how much of everything is taken.
        exits: To the rest of the Mux.
    """

    def __init__(
        self,
        sessions: Sessions,
        arrivals: Arrivals,
        reception: Reception,
        turn: Turn,
        counters: MuxCounters,
        first: FirstOnly,
        guard: Guard,
        exits: Exits,
    ) -> None:
        self._sessions = sessions
        self._arrivals = arrivals
        self._reception = reception
        self._turn = turn
        self._counters = counters
        self._first = first
        self._guard = guard
        self._exits = exits
        self._clock = asyncio.get_running_loop().time
        self._large = min(guard.limits.stranger_bytes, guard.limits.request_bytes)
        self._strangers = guard.bucket(self._clock)
        self._is_stopping = False

    def stop(self) -> None:
        """From now on only goodbyes are heard, and questions about what was said before.

        Nothing more is said on the feed, so nothing more may change. Those who are here have
        been told Bye; those who come now are told why not.
        """
        self._is_stopping = True

    def hear(self, peer: bytes, frame: bytes, blobs: object) -> None:
        """A message arrived."""
        if len(frame) > self._large and not self._may_say(peer, len(frame)):
            return
        try:
            message = from_frame(frame)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return
        if self._is_stopping and not isinstance(message, (Bye, Sync)):
            if isinstance(message, Hello):
                self._exits.send(peer, Refusal(0, RefusalCode.STOPPING, "the source stops"))
        elif isinstance(message, Hello):
            self._counters.hellos += 1
            self._arrivals.add(peer, message)
        elif isinstance(message, List):
            self._list(peer, message)
        else:
            self._hear_client(peer, message)

    def _may_say(self, peer: bytes, size: int) -> bool:
        """Whether a large message is read; if not, its sender is told."""
        is_client = self._sessions.of(peer) is not None
        limit = "request_bytes" if is_client else "stranger_bytes"
        if size <= getattr(self._guard.limits, limit):
            return True
        self._counters.oversized += 1
        error = self._guard.exceeded(limit, f"a request of {size} bytes", "send less at once")
        self._first.log("oversized", error.reason)
        self._exits.send(peer, Refusal(0, RefusalCode.LIMIT, error.reason))
        return False

    def _may_stranger_ask(self) -> bool:
        """Whether who is no client is answered; all of them together are one."""
        return self._guard.may_take(self._strangers)

    def _list(self, peer: bytes, message: List) -> None:
        server = self._sessions.of(peer)
        if self._may_stranger_ask() if server is None else server.may_ask():
            self._exits.send(peer, self._exits.listing(peer, message.request))

    def _follow(self, peer: bytes, server: Server, message: Follow) -> None:
        try:
            server.check_rate()
            self._guard.check_name("a machine's id", message.machine_id)
        except LimitExceeded as error:
            answer: bytes | Refusal = Refusal(message.request, RefusalCode.LIMIT, error.reason)
        else:
            answer = self._reception.follow(peer, server, message)
        if isinstance(answer, Refusal):
            self._counters.refused += 1
            self._guard.denied += answer.code == RefusalCode.NO_ACCESS
        self._exits.send(peer, answer)

    def _fetch(self, peer: bytes, server: Server, message: Fetch) -> None:
        if not server.may_receive_payloads:
            self._guard.denied += 1
            reason = f"{server.client.user} may not receive payloads"
            self._exits.send(peer, Refusal(0, RefusalCode.NO_ACCESS, reason, message.token))
        elif server.may_ask():
            self._exits.fetch(peer, server, message)

    def _hear_client(self, peer: bytes, message: Message) -> None:
        if isinstance(message, Bye):
            self._arrivals.forget(peer)
        server = self._sessions.of(peer)
        # libzmq gives the id of a peer that left to another one which asks for it.
        if server is None or server.client.user != self._exits.user_of(peer):
            if self._may_stranger_ask():
                request = getattr(message, "request", 0)
                self._exits.send(peer, Refusal(request, RefusalCode.NO_SESSION, "say Hello first"))
            return
        server.last_seen = self._clock()
        self._hand_over(peer, server, message)

    def _hand_over(self, peer: bytes, server: Server, message: Message) -> None:
        if isinstance(message, Mutate):
            self._counters.requests += 1
            self._turn.hold(server.feed)
            server.mutate(message)
        elif isinstance(message, Ping):
            if server.may_ask():
                server.ping(message, self._sessions.ping_every)
        elif isinstance(message, Sync):
            self._counters.syncs += 1
            if server.may_ask():
                server.sync(message)
        elif isinstance(message, Ack):
            server.ack(message)
        elif isinstance(message, Watch):
            server.watch(message)
        elif isinstance(message, Unwatch):
            server.unwatch(message)
        elif isinstance(message, Follow):
            self._follow(peer, server, message)
        elif isinstance(message, Unfollow):
            server.followed.remove(message.stream_id)
        elif isinstance(message, Fetch):
            self._fetch(peer, server, message)
        elif isinstance(message, Bye):
            self._exits.drop(peer)
        else:
            self._count_garbage(f"{type(message).__name__} is not for a source")

    def _count_garbage(self, text: str) -> None:
        self._counters.garbage += 1
        self._first.log("garbage", text)
