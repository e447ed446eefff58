"""One client's server: its conversation, its recent replies, the payloads meant for it alone.

The Mux makes one on Hello. Its machine (`ServerStates`) tells of the connection: RpcReady once
it serves, ClientConnected while the client is heard of, HandshakeDone after the first Sync,
Ready when all of these hold.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from amzmq.errors import InvalidArgs, RemoteError
from amzmq.machine import EXCEPTION_ARGS, ExceptionArgs, Machine, MutationType, Result, Source
from amzmq.rpc.feed import Feed
from amzmq.states import ServerStates
from amzmq.wire.codec import Value
from amzmq.wire.control import (
    Ack,
    Bye,
    CatchUp,
    Directed,
    Message,
    Mutate,
    Ping,
    Pong,
    Refusal,
    RefusalCode,
    Reply,
    SnapshotReply,
    Sync,
)
from amzmq.wire.writer import FRAME_MARGIN

_log = logging.getLogger("amzmq.server")

REPLY_BODIES = 64
"""Updates that a reply carries at most; a caller further behind waits for its stream."""

REPLY_BYTES = 8192
"""Their bytes together at most: what is larger comes by the stream as well, in a moment."""

REPLIES_KEPT = 1024
"""Results remembered for retries; more than a client has calls in flight."""

OUTBOX_LIMIT = 1024
"""Directed payloads a client may leave unacknowledged before further ones are refused."""


class ClientId(NamedTuple):
    """Who a client is: its name, and which incarnation of it."""

    name: str
    incarnation: bytes


class Server:
    """Serves one client.

    Args:
        client: Who it is.
        epoch: Of the Mux.
        feed: Of the machine it follows.
        send: Sends a message to the client.
        clock: The loop's time in seconds.
        frame_limit: Bytes of the largest frame that may be sent.
        parent: The Mux's machine.

    Attributes:
        mach: The state machine of this connection.
        number: The newest message that the client said it had applied.
        last_seen: Loop time of its last message.
    """

    def __init__(
        self,
        client: ClientId,
        epoch: bytes,
        feed: Feed,
        send: Callable[[Message], None],
        clock: Callable[[], float],
        frame_limit: int,
        parent: Machine,
    ) -> None:
        self.client = client
        self.feed = feed
        self.number = -1
        self.last_seen = clock()
        self._epoch = epoch
        self._send = send
        self._clock = clock
        self._frame_limit = frame_limit
        self._results: OrderedDict[int, Result] = OrderedDict()
        self._outbox: OrderedDict[int, tuple[Directed, float]] = OrderedDict()
        self._directed = 0
        self._waiting: list[tuple[Mutate, Result]] = []
        self.mach = Machine(
            ServerStates, id=f"rs-{client.name}", parent=parent, tags=["rpc-server"]
        )
        for state in ("Start", "RpcAccepting", "RpcReady", "ClientConnected", "Handshaking"):
            self.mach.add(state)

    @property
    def lag(self) -> int:
        """Messages between the stream's head and what the client said it had applied."""
        return self.feed.stream.head - max(self.number, 0)

    @property
    def unacknowledged(self) -> int:
        """Directed payloads that the client has not confirmed yet."""
        return len(self._outbox)

    def take_over(self, older: Server) -> None:
        """The same client came back on another connection: go on where the older one was."""
        self._results = older._results
        self._outbox = older._outbox
        self._directed = older._directed
        self.number = older.number

    def resend(self, older_than: float) -> None:
        """Send payloads again that the client has not confirmed for too long."""
        for directed, sent_at in list(self._outbox.values()):
            if sent_at < older_than:
                self._transmit(directed)

    def close(self) -> None:
        """The client is gone, or the Mux stops."""
        self.mach.remove("ClientConnected", "HandshakeDone", "Handshaking")
        self.mach.dispose()

    # What the client says. The Mux has decoded it.

    def sync(self, message: Sync) -> None:
        """Answer with what the client misses: from the journal, else a snapshot."""
        self.mach.add("MetricSync")
        self.feed.flush()
        stream = self.feed.stream
        bodies = stream.since(message.number) if message.epoch == self._epoch else None
        if bodies is not None:
            part = _fitting(bodies, self._frame_limit)
            self._send(
                CatchUp(message.request, part, 0 if len(part) == len(bodies) else stream.head)
            )
        else:
            snapshot = stream.snapshot()
            self._send(
                SnapshotReply(
                    message.request,
                    snapshot.number,
                    list(snapshot.ticks),
                    snapshot.queue_tick,
                    snapshot.machine_tick,
                    snapshot.payloads,
                    snapshot.checksum,
                )
            )
        if not self.mach.is_("HandshakeDone"):
            self.mach.add("HandshakeDone")
            for directed, _ in list(self._outbox.values()):
                self._transmit(directed)

    def mutate(self, message: Mutate) -> bool:
        """Run a mutation; whether a reply is due, which `reply_all` sends after the flush.

        A request that was answered before is answered from memory (design decision 9).
        """
        if message.request and (known := self._results.get(message.request)) is not None:
            self._waiting.append((message, known))
            return True
        names = self.feed.source.state_names
        called = message.called
        if called and not 0 <= min(called) <= max(called) < len(names):
            self._refuse(message.request, f"state indexes {called} of {len(names)} states")
            return False
        if message.type > MutationType.SET:
            self._refuse(message.request, f"mutation type {message.type}")
            return False
        try:
            result = self._run(message, tuple([names[index] for index in called]))
        except InvalidArgs as error:
            self._refuse(message.request, str(error))
            return False
        if not message.request:
            return False
        self._results[message.request] = result
        if len(self._results) > REPLIES_KEPT:
            self._results.popitem(last=False)
        self._waiting.append((message, result))
        return True

    def _run(self, message: Mutate, states: tuple[str, ...]) -> Result:
        source = self.feed.source
        args = message.args
        event = _event(message.source)
        if args and EXCEPTION_ARGS in args:
            return self._add_error(states, dict(args), event)
        if message.type == MutationType.ADD:
            return source.add(*states, args=args, event=event)
        if message.type == MutationType.REMOVE:
            return source.remove(*states, args=args, event=event)
        return source.set(*states, args=args, event=event)

    def _add_error(
        self, states: tuple[str, ...], args: dict[str, Value], event: Source | None
    ) -> Result:
        """An error that came through a replica: its text is all that travelled."""
        source = self.feed.source
        details = args.pop(EXCEPTION_ARGS)
        if not states or not isinstance(details, list) or len(details) < 3:
            raise InvalidArgs(f"error details {details!r}: [type, message, trace] expected")
        error = RemoteError(str(details[0]), str(details[1]))
        args[EXCEPTION_ARGS] = ExceptionArgs(error, str(details[2]))
        result = source.add_err_state(states[0], error, args=args, event=event)
        if source.has("ErrOnClient"):
            source.add("ErrOnClient")
        return result

    def reply_all(self) -> None:
        """Answer the mutations of this turn, each with the updates its caller has not seen."""
        waiting, self._waiting = self._waiting, []
        stream = self.feed.stream
        for message, result in waiting:
            bodies = stream.since(message.number)
            if (
                bodies is not None
                and len(bodies) <= REPLY_BODIES
                and (len(bodies) <= 1 or sum(map(len, bodies)) <= REPLY_BYTES)
            ):
                self._send(Reply(message.request, result, bodies))
            else:
                self._send(Reply(message.request, result, [], stream.head))

    def ping(self, message: Ping) -> None:
        """The client lives, and says how far it is."""
        self.number = message.number
        self._send(Pong(self.feed.stream.head))

    def ack(self, message: Ack) -> None:
        """Directed payloads up to here have arrived."""
        for ordinal in [ordinal for ordinal in self._outbox if ordinal <= message.ordinal]:
            del self._outbox[ordinal]

    def bye(self, reason: str) -> None:
        """Tell the client that this conversation ends as planned."""
        self._send(Bye(reason))

    def send_payload(self, name: str, data: Value, token: bytes, source_tx: str) -> None:
        """Send a payload to this client alone, behind all changes made before it.

        It is kept until the client confirms it, and sent again after a reconnect.

        Raises:
            InvalidArgs: `data` has no form on the wire, or the outbox is full.
        """
        if len(self._outbox) >= OUTBOX_LIMIT:
            raise InvalidArgs(
                f"{self.client.name} has not confirmed {OUTBOX_LIMIT} payloads; wait for it"
            )
        self.feed.flush()
        directed = Directed(self._directed + 1, self.feed.stream.head, name, data, token, source_tx)
        self._transmit(directed)
        self._directed += 1

    def _transmit(self, directed: Directed) -> None:
        self._send(directed)
        self._outbox[directed.ordinal] = (directed, self._clock())

    def _refuse(self, request: int, reason: str) -> None:
        _log.warning("[%s] refused request %d: %s", self.mach.id, request, reason)
        self._send(Refusal(request, RefusalCode.BAD_REQUEST, reason))


def _event(source: list[Value] | None) -> Source | None:
    """Where a client's mutation came from, for tracing."""
    if source is None:
        return None
    if len(source) < 3 or type(source[2]) is not int:
        raise InvalidArgs(f"source {source!r}: [machine id, transition id, time sum] expected")
    return Source(str(source[0]), str(source[1]), source[2])


def _fitting(bodies: list[bytes], frame_limit: int) -> list[bytes]:
    """As many of the first messages as fit into one frame, at least one."""
    room = frame_limit - FRAME_MARGIN
    for at, body in enumerate(bodies):
        room -= len(body) + _BODY_HEADER
        if room < 0 and at:
            return bodies[:at]
    return bodies


_BODY_HEADER = 5
"""Bytes that msgpack puts before a body, at most."""
