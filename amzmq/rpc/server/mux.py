"""The Mux: serves machines to any number of clients over two sockets.

The ROUTER holds the conversations, the XPUB carries the feed. Within a loop turn requests are
executed as they come; at the end of it the feeds are flushed once and all of them are answered.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import TypeVar

from amzmq.errors import (
    FrameInvalid,
    FrameTooLarge,
    NotConnected,
    RpcError,
)
from amzmq.machine import Machine
from amzmq.net import Delivery, Keys, Publisher, Router, Transport, ZmqTransport
from amzmq.net.addresses import feed_endpoint
from amzmq.net.authenticator import AuthenticatorLike
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.admission import NewServerFn, default_server
from amzmq.rpc.server.arrivals import Arrivals
from amzmq.rpc.server.counters import FirstOnly, MuxCounters
from amzmq.rpc.server.entitlement import Entitlement
from amzmq.rpc.server.feed import Feed, FeedOptions
from amzmq.rpc.server.feed_gate import FeedGate
from amzmq.rpc.server.followed_streams import FollowedStream
from amzmq.rpc.server.heartbeats import Heartbeats
from amzmq.rpc.server.held_rights import HeldRights
from amzmq.rpc.server.reception import Reception
from amzmq.rpc.server.rights import Policy
from amzmq.rpc.server.sending import Sending
from amzmq.rpc.server.server import ClientId, Server
from amzmq.rpc.server.sources import MakeFeedFn, Sources, served_id, several
from amzmq.rpc.server.sync_desk import SNAPSHOT_RATE, SyncDesk
from amzmq.states import MuxStates
from amzmq.wire.codec import Value
from amzmq.wire.compression import encodings
from amzmq.wire.control import (
    NEWS,
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
    from_frame,
    to_frame,
)
from amzmq.wire.journal import JournalLimits
from amzmq.wire.view import View

_log = logging.getLogger("amzmq.mux")

_Part = TypeVar("_Part")

GOODBYE_WAIT = 0.5
"""Seconds that a Mux waits at its end for its clients to say Bye."""

FRAME_LIMIT = 1024 * 1024
"""Bytes of a request; larger ones are counted and not read. NATS has the same max_payload."""

PAYLOAD_STATE = "SendPayload"
"""The state by which a source sends payloads (spec rpc 8.3)."""


class Mux(Sending):
    """Serves one machine, or several.

    Args:
        source: The machine, or several: the first one is the default for clients that name
            none. Replicas (`Client.net_mach`) are served as well: mutations travel up, updates
            and payloads down.
        bind: Where conversations are held; port 0 takes a free one.
        feed: Where the feed is published; by default the port after `bind`'s, or a free one
            for port 0, or the path with ".feed" added.
        name: Names the mux's own machine, ``rm-<name>``; by default the first source's id.
        heartbeat: Seconds between heartbeats; a client silent for three is given up.
        journal: How much is kept for those who missed something.
        transport: What carries the frames; ZeroMQ by default.
        new_server: Makes the server of each client, or refuses it; by default everybody is
            served the machine it asks for.
        allow_ids: The client ids that are served (``rc-<name>``); None for all.
        payload_state: The state of a source that sends payloads, if the source has it: see
            `NetSourceStates`.
        snapshot_rate: Snapshots a second at most, for clients that missed more than the journal
            has; the others wait for their turn.
        push_interval: Seconds between updates at least; 0 publishes each turn of the loop.
        parent: The machine that the mux's own one belongs to.
        args: Classes of typed arguments of the sources' handlers, for `Client.args`.
        curve, authenticator, insecure: As of `ZmqTransport`, if there is no `transport`.
        rights: What each user may do; everybody may do everything without.

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
        source: Machine | NetworkMachine | Iterable[Machine | NetworkMachine] | None = None,
        bind: str = "tcp://127.0.0.1:0",
        feed: str = "",
        name: str = "",
        *,
        heartbeat: float = 1.0,
        journal: JournalLimits | None = None,
        transport: Transport | None = None,
        new_server: NewServerFn | None = None,
        allow_ids: Collection[str] | None = None,
        payload_state: str = PAYLOAD_STATE,
        push_interval: float = 0.0,
        snapshot_rate: float = SNAPSHOT_RATE,
        parent: Machine | None = None,
        args: Iterable[type] = (),
        curve: Keys | None = None,
        authenticator: AuthenticatorLike | None = None,
        insecure: bool = False,
        rights: Policy | None = None,
    ) -> None:
        super().__init__(Sources(args))
        for machine in several(source):
            self._sources.add(machine)
        if not self._sources.all and new_server is None:
            raise RpcError("Mux: nothing to serve; give a machine, or new_server=...")
        name = name or next(iter(self._sources.all), "") or secrets.token_hex(3)
        self.mach = Machine(MuxStates, id=f"rm-{name}", tags=["rpc-mux"], parent=parent)
        self.counters = MuxCounters()
        self._bind = bind
        self._feed_bind = feed
        self._heartbeat = heartbeat
        self._journal = journal or JournalLimits()
        self._transport = transport
        self._secure = partial(
            ZmqTransport, curve=curve, authenticator=authenticator, insecure=insecure
        )
        self._entitlement = Entitlement(rights)
        self._reception = Reception(
            self.mach,
            self._sources,
            self._make_server,
            self._open_stream,
            new_server or default_server,
            None if allow_ids is None else frozenset(allow_ids),
            round(heartbeat * 1000),
            FRAME_LIMIT,
            self._user_of,
        )
        self._payload_state = payload_state
        self._push_interval = push_interval
        self._snapshot_rate = snapshot_rate
        self._router: Router | None = None
        self._publisher: Publisher | None = None
        self._to_answer: dict[Server, None] = {}
        self._held: dict[Feed, None] = {}
        self._will_answer = False
        self._stopping = False
        self._beating: asyncio.Task[None] | None = None
        self._first = FirstOnly(_log, self.mach.id)

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
            self._transport = self._secure()
        gate = FeedGate(self._sources, self._sessions, self.counters, self._first)
        try:
            self._router = self._transport.router(self._bind, self._on_message, self._answer)
            self._publisher = self._transport.publisher(
                self._feed_bind or feed_endpoint(self._bind),
                gate.confirms,
                lambda topic: None,
                gate.garbage,
            )
            gate.publisher = self._publisher
        except BaseException:
            self.mach.remove("Start")
            await self._close_transport()
            raise
        self._frame_limit = limit = self._transport.max_frame_bytes
        self._arrivals = Arrivals(self._admit, self.counters)
        self._desk = SyncDesk(self.counters, self._snapshot_rate, frame_limit=limit)
        self._sources.start(
            FeedOptions(
                self._publisher.send_all, self._journal, self._frame_limit, self._push_interval
            ),
            self._payload_state,
            self._send_for_state,
        )
        self._reception.feed_addr = self.feed_addr
        beats = Heartbeats(self._heartbeat, self._sources, self._sessions, self._went_silent)
        beats.also = self._end_changed_users
        self._beating = asyncio.create_task(beats.run(), name=f"{self.mach.id}.heartbeat")
        self.mach.add("Ready")

    async def stop(self, reason: str = "the source stops") -> None:
        """Flush, say goodbye to every client, close both sockets."""
        if self._router is None or self._stopping:
            return
        assert self._beating is not None
        self._stopping = True
        self.flush()
        for peer in self._arrivals.close():
            self._send(peer, Refusal(0, RefusalCode.STOPPING, "the source stops"))
        for server in self._sessions:
            server.bye(reason)
        self._beating.cancel()
        await asyncio.wait([self._beating])
        await self._all_heard()
        await self._blobs.close()
        for peer, _ in self._sessions.peers():
            self._retire(peer)
        self._sessions.forget_departed()
        self._desk.close()
        self._sources.stop()
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

    # What is served.

    @property
    def sources(self) -> dict[str, Machine | NetworkMachine]:
        """The machines served, by the id that clients ask for; the first is the default."""
        return self._sources.all

    @property
    def source(self) -> Machine | NetworkMachine:
        """The default machine.

        Raises:
            Refused: There is none.
        """
        return self._sources.find("")

    def serve(self, machine: Machine | NetworkMachine, make_feed: MakeFeedFn = Feed) -> None:
        """Serve one more machine, published as `make_feed` does; on the event loop's thread.

        Raises:
            RpcError: A machine of its id is served already.
        """
        self._sources.add(machine, make_feed)
        if self._router is not None:
            self._sources.open(machine)
            for peer, server in self._sessions.peers():
                if server.wants_news:
                    self._send(peer, self._listing(peer, 0))

    def recall(self, machine_id: str, reason: str, *, anew: bool = False) -> None:
        """Have the clients of a machine say Hello again: it is reached otherwise now.

        With `anew` its streams end, and others begin.
        """
        feed = self._sources.feed_of(machine_id)
        for peer, server in self._sessions.peers():
            if server.feed is feed:
                self._send(peer, Refusal(0, RefusalCode.NO_SESSION, reason))
                self._drop(peer)
        self._end_streams(feed, reason)
        if anew:
            self._sources.reopen(machine_id)

    def unserve(self, machine_id: str) -> None:
        """Stop serving a machine: its clients are told Bye.

        Raises:
            Refused: No such machine is served.
        """
        machine_id = served_id(self._sources.find(machine_id))
        feed = self._sources.feed_of(machine_id)
        if feed is not None:
            feed.flush()
            for peer, server in self._sessions.peers():
                if server.feed is feed:
                    server.bye(f"{machine_id} is no longer served")
                    self._drop(peer)
            self._end_streams(feed, f"{machine_id} is no longer served")
            self._sessions.forget_departed()
        self._sources.remove(machine_id)

    def _end_streams(self, feed: Feed | None, reason: str) -> None:
        """Those who follow a machine besides another one are told that it is not to be had."""
        for peer, server in self._sessions.peers():
            for stream_id in server.followed.end(feed):
                self._send(peer, Unfollow(stream_id, reason))

    # What can be seen.

    @property
    def addr(self) -> str:
        """Where clients connect to, with port 0 resolved."""
        return self._serving(self._router).endpoint

    @property
    def new_server_err(self) -> BaseException | None:
        """What `new_server` raised last, refusals apart."""
        return self._reception.new_server_err

    @property
    def feed_addr(self) -> str:
        """Where the feed is published."""
        return self._serving(self._publisher).endpoint

    @property
    def clients(self) -> dict[str, int]:
        """Client id to lag: messages published and not yet confirmed by its heartbeat."""
        return {server.client.name: server.lag for server in self._sessions}

    @property
    def servers(self) -> list[Server]:
        """The servers of the clients that are here."""
        return list(self._sessions)

    @property
    def published(self) -> dict[str, int]:
        """How many updates, payloads and encodings all streams together have seen."""
        self._serving(self._router)
        return self._sources.published()

    def metrics(self) -> dict[str, int]:
        """All counters by name."""
        failed = sum(server.payloads_failed + server.outbox.failed for server in self._sessions)
        return {**asdict(self.counters), **self.published, "payloads_failed": failed}

    def machines(self) -> list[MachineInfo]:
        """What is served, as `list_machines` tells others."""
        following = Counter(served_id(feed.source) for feed in self._sessions.following())
        return self._sources.infos(following)

    def _serving(self, part: _Part | None) -> _Part:
        if part is None:
            raise NotConnected(f"{self.mach.id} does not serve; start() it first")
        return part

    def flush(self) -> None:
        """Publish now what changed since the last flush, instead of at the loop's next turn.

        For a source that changes its machine many times in one turn and wants each change, or
        each batch of them, to be an update of its own. On the event loop's thread only.
        """
        self._serving(self._router)
        for feed in self._sources.feeds:
            feed.flush()

    # The conversation.

    def _on_message(self, peer: bytes, frame: bytes, blobs: object) -> None:
        if len(frame) > FRAME_LIMIT:
            self.counters.oversized += 1
            self._first.log("oversized", f"a request of {len(frame)} bytes; {FRAME_LIMIT} allowed")
            return
        try:
            message = from_frame(frame)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return
        if self._stopping and not isinstance(message, Bye):
            # Nothing more is said on the feed, so nothing more may change. Those who are here
            # have been told Bye; those who come now are told why not.
            if isinstance(message, Hello):
                self._send(peer, Refusal(0, RefusalCode.STOPPING, "the source stops"))
            return
        if isinstance(message, Hello):
            self.counters.hellos += 1
            self._arrivals.add(peer, message)
            return
        if isinstance(message, List):
            self._send(peer, self._listing(peer, message.request))
            return
        if isinstance(message, Bye):
            self._arrivals.forget(peer)
        server = self._sessions.of(peer)
        # libzmq gives the id of a peer that left to another one which asks for it.
        if server is None or server.client.user != self._user_of(peer):
            request = getattr(message, "request", 0)
            self._send(peer, Refusal(request, RefusalCode.NO_SESSION, "say Hello first"))
            return
        server.last_seen = self._loop.time()
        self._dispatch(peer, server, message)

    def _dispatch(self, peer: bytes, server: Server, message: Message) -> None:
        if isinstance(message, Mutate):
            self.counters.requests += 1
            self._will_answer = True  # the transport says when it has read all there is
            self._held[server.feed] = None
            server.feed.hold()
            server.mutate(message)
        elif isinstance(message, Ping):
            server.ping(message)
        elif isinstance(message, Sync):
            self.counters.syncs += 1
            server.sync(message)
        elif isinstance(message, Ack):
            server.ack(message)
        elif isinstance(message, Watch):
            server.watch(message)
        elif isinstance(message, Unwatch):
            server.unwatch(message)
        elif isinstance(message, Follow):
            answer = self._reception.follow(peer, server, message)
            self.counters.refused += isinstance(answer, Refusal)
            self._send(peer, answer)
        elif isinstance(message, Unfollow):
            server.followed.remove(message.stream_id)
        elif isinstance(message, Fetch):
            self._on_fetch(peer, server, message)
        elif isinstance(message, Bye):
            self._drop(peer)
        else:
            self._count_garbage(f"{type(message).__name__} is not for a source")

    def _answer_soon(self, server: Server) -> None:
        """A reply is due: behind the messages that are read now, or at the end of this turn."""
        self._to_answer[server] = None
        self._held[server.feed] = None
        if not self._will_answer:
            self._will_answer = True
            self._loop.call_soon(self._answer)

    def _answer(self) -> None:
        """The end of a turn: one diff a stream, the reply to every request, then the feed.

        Somebody waits for the replies, so they go first.
        """
        self._will_answer = False
        if self._router is None:
            return
        held, self._held = self._held, {}
        servers, self._to_answer = self._to_answer, {}
        taken = [(feed, feed.take()) for feed in held]
        try:
            for server in servers:
                server.reply_all()
        finally:
            for feed, frames in taken:
                feed.publish(frames)

    # Hello.

    def _admit(self, peer: bytes, hello: Hello) -> None:
        answer = self._reception.hear(peer, hello)
        if isinstance(answer, Refusal):
            self.counters.refused += 1
            self._send(peer, answer)
            return
        told = hello.capabilities or ()
        answer.understood = tuple(name for name in encodings() if name in told)
        resumed = self._sessions.admit(peer, answer)
        self.mach.add("ClientConnected", addr=hello.client_id)
        self.mach.add("HasClients")
        answer.wants_news = NEWS in told
        self._send(peer, self._reception.welcome(answer, hello, resumed))
        self.counters.welcomes_encoded = self._reception.welcomes_encoded

    def _make_server(
        self, peer: bytes, client: ClientId, source: Machine | NetworkMachine, view: View
    ) -> Server:
        rights, view = self._entitlement.admit(client, source, view)
        feed = self._sources.open(source)
        return Server(
            client,
            feed,
            feed.join(view),
            lambda message: self._send(peer, message),
            self._answer_soon,
            self._frame_limit,
            self.mach,
            self._desk,
            rights,
        )

    def _open_stream(
        self, client: ClientId, source: Machine | NetworkMachine, view: View
    ) -> FollowedStream:
        rights, view = self._entitlement.admit(client, source, view)
        feed = self._sources.open(source)
        return FollowedStream(feed, feed.join(view), HeldRights(source, rights))

    def _listing(self, peer: bytes, request: int) -> Listing:
        """The machines that a client may know of."""
        user = self._user_of(peer)
        rows: list[Value] = [
            machine.value()
            for machine in self.machines()
            if not self._entitlement.on(user, self._sources.find(machine.id)).nothing
        ]
        return Listing(request, rows)

    def _user_of(self, peer: bytes) -> str:
        return "" if self._router is None else self._router.user_of(peer)

    def _drop(self, peer: bytes) -> None:
        """A client went."""
        self._retire(peer)
        if not self._sessions and self.mach.is_("HasClients"):
            self.mach.remove("HasClients")

    def _went_silent(self, peer: bytes, server: Server) -> None:
        self.counters.expired += 1
        _log.info("[%s] %s went silent", self.mach.id, server.client.name)
        self._drop(peer)

    def _end_changed_users(self) -> None:
        """Who has other rights now has to come back to get them."""
        if self._transport is not None:
            for user in self._entitlement.changed(self._sessions):
                self._transport.end_user(user)

    def _retire(self, peer: bytes) -> None:
        server = self._sessions.retire(peer)
        if server is not None:
            self._to_answer.pop(server, None)
            self._blobs.forget(server.client)

    def _send(self, peer: bytes, message: Message | bytes) -> None:
        if self._router is None:
            return
        frame = message if isinstance(message, bytes) else to_frame(message)
        if len(frame) > self._frame_limit:
            what = "an answer" if message is frame else type(message).__name__
            raise FrameTooLarge(
                f"{what} takes {len(frame)} bytes, {self._frame_limit} are "
                "allowed; send less at once, or raise max_frame_bytes of SocketOptions"
            )
        if self._router.send(peer, frame) is not Delivery.SENT:
            self.counters.undelivered += 1

    def _count_garbage(self, text: str) -> None:
        self.counters.garbage += 1
        self._first.log("garbage", text)
