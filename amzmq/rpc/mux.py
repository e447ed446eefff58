"""The Mux: serves one machine to any number of clients over two sockets.

The ROUTER holds the conversations, the XPUB carries the feed. Within a loop turn requests are
executed as they come; at the end of it the feed is flushed once and all of them are answered.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TypeVar

from amzmq.errors import AddressInvalid, FrameInvalid, NotConnected, RpcError
from amzmq.machine import Event, Machine
from amzmq.net import Delivery, Publisher, Router, Transport, ZmqTransport
from amzmq.rpc.feed import Feed
from amzmq.rpc.server import ClientId, Server
from amzmq.states import MuxStates
from amzmq.wire.codec import Value, encode
from amzmq.wire.control import (
    PROTOCOL_VERSION,
    Ack,
    Bye,
    Hello,
    Message,
    Mutate,
    Ping,
    Refusal,
    RefusalCode,
    Sync,
    Welcome,
    from_frame,
    to_frame,
)
from amzmq.wire.journal import JournalLimits
from amzmq.wire.schema import schema_hash, schema_value

_log = logging.getLogger("amzmq.mux")

_Part = TypeVar("_Part")

MISSED_BEATS = 3
"""Heartbeats after which a silent peer counts as gone."""

GOODBYE_WAIT = 0.5
"""Seconds that a Mux waits at its end for its clients to say Bye."""

DEPARTED_KEPT = 256
"""Clients whose results and payloads are kept after they left, in case they come back."""

FRAME_LIMIT = 1024 * 1024
"""Bytes of a request; larger ones are counted and not read. NATS has the same max_payload."""


@dataclass(slots=True)
class MuxCounters:
    """What happened so far; only ever grows.

    Attributes:
        hellos: Conversations begun.
        requests: Mutations received.
        syncs: Questions for what was missed.
        garbage: Frames that are no message, on either socket.
        oversized: Frames above the limit.
        undelivered: Messages whose client was gone or full.
        expired: Clients given up after their silence.
    """

    hellos: int = 0
    requests: int = 0
    syncs: int = 0
    garbage: int = 0
    oversized: int = 0
    undelivered: int = 0
    expired: int = 0


class Mux:
    """Serves a machine.

    Args:
        source: The machine.
        bind: Where conversations are held; port 0 takes a free one.
        feed: Where the feed is published; by default the port after `bind`'s, or a free one
            for port 0, or the path with ".feed" added.
        name: Names the mux's own machine, ``rm-<name>``; by default the source's id.
        heartbeat: Seconds between heartbeats; a client silent for three is given up.
        journal: How much is kept for those who missed something.
        transport: What carries the frames; ZeroMQ by default.

    Attributes:
        mach: The mux's own state machine (`MuxStates`).
        counters: What happened so far.

    >>> async def serve(machine: Machine) -> None:
    ...     async with Mux(machine, bind="tcp://127.0.0.1:0") as mux:
    ...         print("serving at", mux.addr)
    ...         await machine.when("Done")
    """

    def __init__(
        self,
        source: Machine,
        bind: str = "tcp://127.0.0.1:0",
        feed: str = "",
        name: str = "",
        *,
        heartbeat: float = 1.0,
        journal: JournalLimits | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.source = source
        self.mach = Machine(MuxStates, id=f"rm-{name or source.id}", tags=["rpc-mux"])
        self.counters = MuxCounters()
        self._bind = bind
        self._feed_bind = feed
        self._heartbeat = heartbeat
        self._journal = journal or JournalLimits()
        self._transport = transport
        self._epoch = secrets.token_bytes(8)
        self._schema_hash = schema_hash(source.compiled)
        self._router: Router | None = None
        self._publisher: Publisher | None = None
        self._feed: Feed | None = None
        self._servers: dict[bytes, Server] = {}
        self._peers: dict[ClientId, bytes] = {}
        self._departed: OrderedDict[ClientId, Server] = OrderedDict()
        self._to_answer: dict[Server, None] = {}
        self._welcoming = False
        self._stopping = False
        self._beating: asyncio.Task[None] | None = None
        self._logged: set[str] = set()

    # Life.

    async def start(self) -> None:
        """Bind both sockets and serve.

        Raises:
            AddressInUse: Somebody else listens there.
            AddressInvalid: Not an endpoint.
        """
        if self._router is not None:
            raise RpcError(f"{self.mach.id} serves already at {self.addr}")
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.mach.add("Start")
        if self._transport is None:
            self._transport = ZmqTransport()
        try:
            self._router = self._transport.router(self._bind, self._on_message, self._answer)
            self._publisher = self._transport.publisher(
                self._feed_bind or _feed_endpoint(self._bind),
                self._on_subscribe,
                lambda topic: None,
                self._on_feed_garbage,
            )
        except BaseException:
            self.mach.remove("Start")
            await self._close_transport()
            raise
        self._frame_limit = self._transport.max_frame_bytes
        self._feed = Feed(self.source, self._publisher.send, self._journal, self._frame_limit)
        self._beating = asyncio.create_task(self._beat(), name=f"{self.mach.id}.heartbeat")
        self.mach.add("Ready")

    async def stop(self, reason: str = "the source stops") -> None:
        """Flush, say goodbye to every client, close both sockets."""
        if self._router is None or self._stopping:
            return
        assert self._feed is not None
        assert self._beating is not None
        self._stopping = True
        self._feed.close()
        for server in list(self._servers.values()):
            server.bye(reason)
        self._beating.cancel()
        await asyncio.wait([self._beating])
        await self._all_heard()
        for peer in list(self._servers):
            self._retire(peer)
        self.mach.remove("HasClients", "Ready", "Start")
        await self._close_transport()
        self._stopping = False
        self.mach.dispose()

    async def _all_heard(self) -> None:
        """Wait until every client has said Bye as well: closing at once would cut it short."""
        try:
            async with asyncio.timeout(GOODBYE_WAIT):
                await self.mach.when_not("HasClients")
        except TimeoutError:
            _log.info("[%s] not all clients heard the goodbye", self.mach.id)

    async def _close_transport(self) -> None:
        assert self._transport is not None
        self._router = self._publisher = None
        await self._transport.close()

    async def __aenter__(self) -> Mux:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # What can be seen.

    @property
    def addr(self) -> str:
        """Where clients connect to, with port 0 resolved."""
        return self._serving(self._router).endpoint

    @property
    def feed_addr(self) -> str:
        """Where the feed is published."""
        return self._serving(self._publisher).endpoint

    @property
    def clients(self) -> dict[str, int]:
        """Client id to lag: messages published and not yet confirmed by its heartbeat."""
        return {server.client.name: server.lag for server in self._servers.values()}

    @property
    def published(self) -> dict[str, int]:
        """How many updates, payloads and encodings the stream has seen."""
        stream = self._serving(self._feed).stream
        return {
            "updates": stream.updates,
            "payloads": stream.payloads,
            "encoded": stream.encoded,
            "head": stream.head,
        }

    def metrics(self) -> dict[str, int]:
        """All counters by name."""
        return {**asdict(self.counters), **self.published}

    def _serving(self, part: _Part | None) -> _Part:
        if part is None:
            raise NotConnected(f"{self.mach.id} does not serve; start() it first")
        return part

    def flush(self) -> None:
        """Publish now what changed since the last flush, instead of at the loop's next turn.

        For a source that changes its machine many times in one turn and wants each change, or
        each batch of them, to be an update of its own. On the event loop's thread only.
        """
        if self._feed is None:
            self._serving(self._feed)
        else:
            self._feed.flush()

    # Payloads.

    def send_payload(
        self,
        name: str,
        data: Value,
        destination: str | None = None,
        event: Event | None = None,
    ) -> bytes:
        """Send data to every follower, or to one, in order with the states.

        Args:
            name: Which kind of payload, for the receiver.
            data: None, bool, int, float, str, bytes, and lists and dicts of these.
            destination: A client's id (``rc-<name>``) or its name; None is everybody.
            event: The event of the handler that sends it, for tracing.

        Returns:
            The payload's token.

        Raises:
            InvalidArgs: `data` has no form on the wire.
            NotConnected: There is no such client.
        """
        feed = self._serving(self._feed)
        token = secrets.token_bytes(8)
        source_tx = "" if event is None else event.transition_id
        target: Feed | Server = feed if destination is None else self._server_of(destination, name)
        if threading.get_ident() == self._thread:
            target.send_payload(name, data, token, source_tx)
        else:
            encode(data)  # what cannot travel is the caller's error, not the loop's
            self._loop.call_soon_threadsafe(target.send_payload, name, data, token, source_tx)
        return token

    def _server_of(self, destination: str, name: str) -> Server:
        for server in list(self._servers.values()):
            if server.client.name in (destination, f"rc-{destination}"):
                return server
        raise NotConnected(
            f"payload {name!r}: no client {destination!r}; connected are: "
            f"{' '.join(sorted(self.clients)) or 'none'}"
        )

    # The conversation.

    def _on_message(self, peer: bytes, frame: bytes, blobs: object) -> None:
        if len(frame) > FRAME_LIMIT:
            self.counters.oversized += 1
            self._log_once("oversized", f"a request of {len(frame)} bytes; {FRAME_LIMIT} allowed")
            return
        try:
            message = from_frame(frame)
        except FrameInvalid as error:
            self.counters.garbage += 1
            self._log_once("garbage", str(error))
            return
        if self._stopping and not isinstance(message, Bye):
            # Nothing more is said on the feed, so nothing more may change. Those who are here
            # have been told Bye; those who come now are told why not.
            if isinstance(message, Hello):
                self._send(peer, Refusal(0, RefusalCode.STOPPING, "the source stops"))
            return
        if isinstance(message, Hello):
            self._on_hello(peer, message)
            return
        server = self._servers.get(peer)
        if server is None:
            request = getattr(message, "request", 0)
            self._send(peer, Refusal(request, RefusalCode.NO_SESSION, "say Hello first"))
            return
        server.last_seen = self._loop.time()
        self._dispatch(peer, server, message)

    def _dispatch(self, peer: bytes, server: Server, message: Message) -> None:
        if isinstance(message, Mutate):
            self.counters.requests += 1
            server.feed.hold()
            if server.mutate(message):
                self._to_answer[server] = None
        elif isinstance(message, Ping):
            server.ping(message)
        elif isinstance(message, Sync):
            self.counters.syncs += 1
            server.sync(message)
        elif isinstance(message, Ack):
            server.ack(message)
        elif isinstance(message, Bye):
            self._drop(peer)
        else:
            self.counters.garbage += 1
            self._log_once("garbage", f"{type(message).__name__} is not for a source")

    def _answer(self) -> None:
        """The end of a turn: one diff, then the reply to every request of it."""
        if self._feed is None or self._router is None:
            return
        servers, self._to_answer = self._to_answer, {}

        def reply() -> None:
            for server in servers:
                server.reply_all()

        self._feed.flush_behind(reply)

    def _on_hello(self, peer: bytes, hello: Hello) -> None:
        self.counters.hellos += 1
        if hello.version != PROTOCOL_VERSION:
            reason = f"protocol {hello.version}, this source speaks {PROTOCOL_VERSION}"
            self._send(peer, Refusal(0, RefusalCode.VERSION, reason))
            return
        if hello.machine_id not in ("", self.source.id):
            reason = f"no machine {hello.machine_id!r} here; there is {self.source.id!r}"
            self._send(peer, Refusal(0, RefusalCode.MACHINE_UNKNOWN, reason))
            return
        client = ClientId(hello.client_id, hello.incarnation)
        resumed = self._admit(peer, client)
        feed = self._serving(self._feed)
        known = hello.schema_hash == self._schema_hash
        self._send(
            peer,
            Welcome(
                PROTOCOL_VERSION,
                self._epoch,
                feed.stream.stream_id,
                self.feed_addr,
                self.source.id,
                round(self._heartbeat * 1000),
                None if known else schema_value(self.source.compiled),
                resumed,
                FRAME_LIMIT,
            ),
        )

    def _admit(self, peer: bytes, client: ClientId) -> bool:
        """Make the server of a client; whether an earlier one of it could be continued."""
        for earlier_peer in {peer, self._peers.get(client, peer)}:
            self._retire(earlier_peer)
        feed = self._serving(self._feed)
        server = Server(
            client,
            self._epoch,
            feed,
            self._sender(peer),
            self._loop.time,
            self._frame_limit,
            self.mach,
        )
        earlier = self._departed.pop(client, None)
        if earlier is not None:
            server.take_over(earlier)
        self._servers[peer] = server
        self._peers[client] = peer
        self.mach.add("ClientConnected")
        self.mach.add("HasClients")
        return earlier is not None

    def _drop(self, peer: bytes) -> None:
        """A client went."""
        self._retire(peer)
        if not self._servers and self.mach.is_("HasClients"):
            self.mach.remove("HasClients")

    def _retire(self, peer: bytes) -> None:
        """End a server; what its client may ask for when it comes back is kept for a while."""
        server = self._servers.pop(peer, None)
        if server is None:
            return
        del self._peers[server.client]
        self._to_answer.pop(server, None)
        server.close()
        self._departed[server.client] = server
        if len(self._departed) > DEPARTED_KEPT:
            self._departed.popitem(last=False)

    def _sender(self, peer: bytes) -> Callable[[Message], None]:
        return lambda message: self._send(peer, message)

    def _send(self, peer: bytes, message: Message) -> None:
        if self._router is None:
            return
        if self._router.send(peer, to_frame(message)) is not Delivery.SENT:
            self.counters.undelivered += 1

    # The feed.

    def _on_subscribe(self, topic: bytes) -> bool:
        """Confirm known streams only; a beat tells the newcomer that it is connected."""
        if self._feed is None or topic != self._feed.stream.stream_id:
            self.counters.garbage += 1
            self._log_once("subscription", f"a subscription to an unknown stream {topic!r:.40}")
            return False
        if not self._welcoming:
            self._welcoming = True
            self._loop.call_soon(self._welcome)
        return True

    def _welcome(self) -> None:
        """One beat for all who subscribed in this turn."""
        self._welcoming = False
        if self._feed is not None and self._publisher is not None:
            self._feed.beat()

    def _on_feed_garbage(self, frame: bytes) -> None:
        self.counters.garbage += 1
        self._log_once("garbage", f"{len(frame)} bytes on the feed that are no subscription")

    async def _beat(self) -> None:
        """Every heartbeat: say where the stream is, give up clients that went silent."""
        interval = self._heartbeat
        while True:
            asleep = self._loop.time()
            await asyncio.sleep(interval)
            self._serving(self._feed).beat()
            now = self._loop.time()
            if now - asleep > 2 * interval:
                continue  # this loop was blocked: what the clients sent waits unread
            for peer, server in list(self._servers.items()):
                server.resend(now - interval)
                if server.last_seen < now - MISSED_BEATS * interval:
                    self.counters.expired += 1
                    _log.info("[%s] %s went silent", self.mach.id, server.client.name)
                    self._drop(peer)

    def _log_once(self, kind: str, text: str) -> None:
        """The first of its kind is logged, all are counted."""
        if kind not in self._logged:
            self._logged.add(kind)
            _log.warning("[%s] %s (further ones are only counted)", self.mach.id, text)


def _feed_endpoint(bind: str) -> str:
    """The default feed endpoint beside a conversation's."""
    scheme, _, rest = bind.partition("://")
    if scheme != "tcp":
        return f"{bind}.feed"
    host, _, port = rest.rpartition(":")
    if port in ("0", "*"):
        return bind
    if not port.isdigit():
        raise AddressInvalid(bind, "the port is missing")
    return f"tcp://{host}:{int(port) + 1}"
