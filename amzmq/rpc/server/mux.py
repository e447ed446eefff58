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

from amzmq.errors import FrameTooLarge, LimitExceeded, NotConnected, RpcError
from amzmq.machine import Machine
from amzmq.net import (
    Delivery,
    Keys,
    Publisher,
    Router,
    SocketOptions,
    Transport,
    ZmqTransport,
)
from amzmq.net.addresses import feed_endpoint
from amzmq.net.authenticator import AuthenticatorLike
from amzmq.net.sharing import hold, release, unbind
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.admission import NewServerFn, default_server
from amzmq.rpc.server.arrivals import Arrivals
from amzmq.rpc.server.counters import FirstOnly, MuxCounters
from amzmq.rpc.server.dispatch import Dispatch, Exits
from amzmq.rpc.server.entitlement import Entitlement
from amzmq.rpc.server.feed import Feed, FeedOptions
from amzmq.rpc.server.feed_gate import FeedGate
from amzmq.rpc.server.followed_streams import FollowedStream
from amzmq.rpc.server.heartbeats import Heartbeats
from amzmq.rpc.server.held_rights import HeldRights
from amzmq.rpc.server.limits import Guard, Limits
from amzmq.rpc.server.persist import Fsync, FsyncLike, PathLike
from amzmq.rpc.server.posting import Posting
from amzmq.rpc.server.receipt import Receipt
from amzmq.rpc.server.reception import Reception
from amzmq.rpc.server.rights import Policy
from amzmq.rpc.server.sending import Sending
from amzmq.rpc.server.server import ClientId, Server
from amzmq.rpc.server.sources import MakeFeedFn, Sources, served_id, several
from amzmq.rpc.server.sync_desk import SNAPSHOT_RATE, SyncDesk
from amzmq.rpc.server.turn import Turn
from amzmq.states import MuxStates
from amzmq.wire.codec import Value
from amzmq.wire.compression import encodings
from amzmq.wire.control import NEWS, Hello, Listing, Message, Refusal, RefusalCode, Unfollow
from amzmq.wire.control_frames import to_frame
from amzmq.wire.journal import JournalLimits
from amzmq.wire.view import View
from amzmq.wire.writer import StreamWriter

_log = logging.getLogger("amzmq.mux")

_Part = TypeVar("_Part")

GOODBYE_WAIT = 0.5
"""Seconds that a Mux waits at its end for its clients to say Bye."""

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
        transport: What carries the frames; ZeroMQ by default. The last of those who were given
            one closes it.
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
        limits: How much clients may use; `journal` overrides what it says of journals.
        persist: A file that keeps the clocks, so that the next process goes on where this one
            was (docs/persistence.md).
        fsync: When that is forced to the disk.

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
        limits: Limits | None = None,
        persist: PathLike | None = None,
        fsync: FsyncLike = Fsync.ALWAYS,
    ) -> None:
        super().__init__(Sources(args))
        for machine in several(source):
            self._sources.add(machine)
        if not self._sources.all and new_server is None:
            raise RpcError("Mux: nothing to serve; give a machine, or new_server=...")
        name = name or next(iter(self._sources.all), "") or secrets.token_hex(3)
        self.mach = Machine(MuxStates, id=f"rm-{name}", tags=["rpc-mux"], parent=parent)
        self._sources.persist(persist, fsync, self.mach)
        self.counters = MuxCounters()
        self._bind = bind
        self._feed_bind = feed
        self._heartbeat = heartbeat
        self._guard = Guard(limits or Limits())
        self._journal = journal or self._guard.limits.journal
        self._given_transport = transport
        self._transport: Transport | None = None
        self._secure = partial(
            ZmqTransport, curve=curve, authenticator=authenticator, insecure=insecure
        )
        self._entitlement = Entitlement(rights, self._sources, payload_state)
        self._reception = Reception(
            self.mach,
            self._entitlement.find,
            self._make_server,
            self._open_stream,
            new_server or default_server,
            None if allow_ids is None else frozenset(allow_ids),
            round(heartbeat * 1000),
            self._guard.limits.request_bytes,
            self._user_of,
        )
        self._payload_state = payload_state
        self._push_interval = push_interval
        self._snapshot_rate = snapshot_rate
        self._router: Router | None = None
        self._publisher: Publisher | None = None
        self._turn = Turn()
        self._stopping = False
        self._beating: asyncio.Task[None] | None = None
        self._first = FirstOnly(_log, self.mach.id)

    # Life.

    async def start(self) -> None:
        """Bind both sockets and serve; one that could not may try again, or `stop`.

        Raises:
            AddressInUse: Somebody else listens there.
            AddressInvalid: Not an endpoint.
            PersistFailed: The clocks cannot be kept as asked.
        """
        if self._router is not None:
            raise RpcError(f"{self.mach.id} serves already at {self.addr}")
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        if self._transport is None:
            patience = round(self._guard.limits.handshake * 1000)
            self._transport = hold(
                self._given_transport or self._secure(SocketOptions(handshake_ms=patience))
            )
        self.mach.add("Start")
        gate = FeedGate(self._sources, self._sessions, self.counters, self._first)
        self._arrivals = Arrivals(self._admit, self.counters, self._guard)
        self._dispatch = self._make_dispatch()
        try:
            self._router = self._transport.router(self._bind, self._dispatch.hear, self._turn.end)
            self._publisher = self._transport.publisher(
                self._feed_bind or feed_endpoint(self._bind),
                gate.confirms,
                lambda topic: None,
                gate.garbage,
            )
            gate.publisher = self._publisher
            self._frame_limit = limit = self._transport.max_frame_bytes
            send, interval = self._publisher.send_all, self._push_interval
            options = FeedOptions(send, self._journal, limit, interval, guard=self._guard)
            self._sources.start(options, self._payload_state, self._send_for_state)
        except BaseException:
            self._dispatch.stop()  # whoever has come already
            self.mach.remove("Start")
            await self._close_sockets()
            if self._given_transport is None:
                await self._leave_transport()
            raise
        self._desk = SyncDesk(
            self.counters, self._snapshot_rate, frame_limit=limit, guard=self._guard
        )
        self._reception.feed_addr = self.feed_addr
        beats = Heartbeats(self._heartbeat, self._sources, self._sessions, self._went_silent)
        beats.also = self._on_beat
        self._beating = asyncio.create_task(beats.run(), name=f"{self.mach.id}.heartbeat")
        self.mach.add("Ready")

    def _make_dispatch(self) -> Dispatch:
        return Dispatch(
            self._sessions,
            self._arrivals,
            self._reception,
            self._turn,
            self.counters,
            self._first,
            self._guard,
            Exits(self._send, self._user_of, self._listing, self._on_fetch, self._drop),
        )

    async def stop(self, reason: str = "the source stops") -> None:
        """Flush, say goodbye to every client, close both sockets."""
        if self._stopping:
            return
        if self._router is None:
            await self._leave_transport()  # of a start that failed
            return
        assert self._beating is not None
        self._stopping = True
        self._dispatch.stop()
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
        self._turn.close()
        self.mach.remove("HasClients", "Ready", "Start")
        try:
            await self._close_sockets()
        finally:
            await self._leave_transport()
        self._stopping = False
        self.mach.dispose()

    async def _all_heard(self) -> None:
        """Wait until every client has said Bye as well: closing at once would cut it short."""
        try:
            async with asyncio.timeout(GOODBYE_WAIT):
                await self.mach.when_not("HasClients")
        except TimeoutError:
            _log.info("[%s] not all clients heard the goodbye", self.mach.id)

    async def _close_sockets(self) -> None:
        sockets = self._router, self._publisher
        self._router = self._publisher = None
        await unbind(*sockets)

    async def _leave_transport(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await release(transport)

    async def __aenter__(self) -> Mux:
        try:
            await self.start()
        except BaseException:
            await self._leave_transport()
            raise
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
        return {
            **asdict(self.counters),
            **self.published,
            **self._guard.metrics(),
            **self._handshakes(),
            "payloads_failed": failed,
        }

    def _handshakes(self) -> dict[str, int]:
        """What became of those who wanted to connect."""
        transport = self._transport
        if not isinstance(transport, ZmqTransport):
            return {}
        return {**transport.counts.metrics(), **transport.handshakes.metrics()}

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

    # Hello.

    def _admit(self, peer: bytes, hello: Hello) -> None:
        try:
            self._check_room(peer, hello)
        except LimitExceeded as error:
            answer: Server | Refusal = Refusal(0, RefusalCode.LIMIT, error.reason)
        else:
            answer = self._reception.hear(peer, hello)
        if isinstance(answer, Refusal):
            self.counters.refused += 1
            self._guard.denied += answer.code == RefusalCode.NO_ACCESS
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

    def _check_room(self, peer: bytes, hello: Hello) -> None:
        """Whether there is room for one more client.

        Raises:
            LimitExceeded: There is none, or its names would take too much.
        """
        self._guard.check_name("a client's id", hello.client_id)
        self._guard.check_name("a client's incarnation", hello.incarnation)
        self._guard.check_name("a machine's id", hello.machine_id)
        limits, user = self._guard.limits, self._user_of(peer)
        client = ClientId(hello.client_id, hello.incarnation, user)
        is_admin = self._entitlement.is_admin(user)
        if self._sessions.would_be(peer, client) > limits.clients + limits.admins * is_admin:
            text = f"{len(self._sessions)} clients are here"
            limit = "admins" if is_admin else "clients"
            raise self._guard.exceeded(limit, text, "come back when one has left")

    def _make_server(
        self, peer: bytes, client: ClientId, source: Machine | NetworkMachine, view: View
    ) -> Server:
        rights, view = self._entitlement.admit(client, source, view)
        feed = self._sources.open(source)
        return Server(
            client,
            feed,
            self._join(feed, view, client.user),
            lambda message: self._send(peer, message),
            self._turn.answer_soon,
            self.mach,
            self._desk,
            self._guard,
            rights,
        )

    def _open_stream(
        self, client: ClientId, source: Machine | NetworkMachine, view: View
    ) -> FollowedStream:
        rights, view = self._entitlement.admit(client, source, view)
        feed = self._sources.open(source)
        stream = self._join(feed, view, client.user)
        return FollowedStream(feed, stream, HeldRights(source, rights), client.user)

    def _join(self, feed: Feed, view: View, user: str) -> StreamWriter:
        """Who left and may come back is of less importance than who is here."""
        self._sessions.make_room(user, lambda: feed.has_room(view, user))
        return feed.join(view, user)

    def _listing(self, peer: bytes, request: int) -> Listing:
        """The machines that a client may know of."""
        known = self._entitlement.may_know(self._user_of(peer), self.machines())
        rows: list[Value] = [machine.value() for machine in known]
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

    def _on_beat(self) -> None:
        self._desk.beat()
        self._end_changed_users()

    def _end_changed_users(self) -> None:
        """Who has other rights now has to come back to get them."""
        assert self._transport is not None
        for user in self._entitlement.changed():
            # First, so that nobody subscribes again to what they were given before.
            for peer, server in self._sessions.peers():
                if server.client.user == user:
                    self._drop(peer)
            self._transport.end_user(user)

    def _target(self, name: str, destination: str | None, machine: str) -> Feed | Server:
        self._guard.check_name("a payload's name", name)
        return super()._target(name, destination, machine)

    def _post(self, posting: Posting) -> Receipt:
        self._guard.check_payload(posting.receipt.name, posting.data, self._frame_limit)
        return super()._post(posting)

    def _retire(self, peer: bytes) -> None:
        server = self._sessions.retire(peer)
        if server is not None:
            self._turn.forget(server)
            self._forget_fetches(server)

    def _send(self, peer: bytes, message: Message | bytes) -> None:
        keeper = self._sources.keeper
        passed = message if keeper is None else keeper.passed(message)
        if self._router is None or passed is None:
            return
        message = passed
        frame = message if isinstance(message, bytes) else to_frame(message)
        if len(frame) > self._frame_limit:
            what = "an answer" if message is frame else type(message).__name__
            raise FrameTooLarge(
                f"{what} takes {len(frame)} bytes, {self._frame_limit} are "
                "allowed; send less at once, or raise max_frame_bytes of SocketOptions"
            )
        if self._router.send(peer, frame) is not Delivery.SENT:
            self.counters.undelivered += 1
