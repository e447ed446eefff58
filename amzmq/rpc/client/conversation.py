"""What is said between a client and a source, apart from how it is carried (spec rpc 3).

The connection opens and closes the way; this understands what comes over it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from amzmq.errors import AmzmqError, FrameInvalid, SchemaMismatch
from amzmq.rpc.client.calls import refusal
from amzmq.rpc.client.talk import Talk, reachable
from amzmq.rpc.replica.follower import Follower
from amzmq.wire.compression import encodings
from amzmq.wire.control import (
    PROTOCOL_VERSION,
    Bye,
    CatchUp,
    Chunk,
    Directed,
    Hello,
    Listing,
    Message,
    NsReport,
    Ping,
    Refusal,
    RefusalCode,
    Reply,
    SnapshotReply,
    Watched,
    Welcome,
)

if TYPE_CHECKING:
    from amzmq.rpc.client.client import Client
    from amzmq.rpc.client.connection import Connection

_log = logging.getLogger("amzmq.client")

WATCH_BEATS = 3
"""Pings after which the source is reminded of the waits: a full queue may have lost some."""


class Conversation(Talk):
    """One client's end of the conversation.

    Args:
        client: Whose it is.
        connection: Carries it.
        incarnation: 8 random bytes of the client; a reconnect keeps them.
        machine_id: The machine that it wants; "" for the default one.

    Attributes:
        resumed: Whether the source remembers this client from before.
        ns: What the source has reported of the mutations without reply.
        ns_sent: How many of those were sent since the source first heard of this client.
        ns_lost: How many are not known to have arrived at sources that forgot this client.
        settled: Whether the source is known, and what it remembers of this client.
    """

    def __init__(
        self, client: Client, connection: Connection, incarnation: bytes, machine_id: str
    ) -> None:
        super().__init__(client.mach.id, connection)
        self.resumed = False
        self.ns = NsReport(0, 0, 0, "")
        self.ns_sent = 0
        self.ns_lost = 0
        self._ns_past = NsReport(0, 0, 0, "")
        self._ns_sent_past = 0
        self.settled = False
        self._is_greeted = False
        self._beats = 0
        self._client = client
        self._incarnation = incarnation
        self._machine_id = machine_id

    # How it goes.

    async def introduce(self) -> None:
        """Say Hello.

        Raises:
            TimeoutError: The connection is lost again already; the next one says Hello.
        """
        if not self._connection.send(self.hello()):
            raise TimeoutError

    def hello(self) -> Hello:
        """How the client introduces itself."""
        client = self._client
        self.settled = self._is_greeted = False
        return Hello(
            PROTOCOL_VERSION,
            client.mach.id,
            self._incarnation,
            client.following.known_hash,
            self._machine_id,
            client.view.value(),
            list(encodings()),
        )

    async def fed(self) -> None:
        """Wait until the feed arrives."""
        await self._client.follower.arrived(self._client, self.heartbeat)

    async def catch_up(self, timeout: float) -> None:
        """Get level with the source.

        Raises:
            TimeoutError: It did not answer in time.
        """
        await self._client.follower.begin(self._client, self._client.epoch, timeout)

    async def let_go(self) -> None:
        """Release what was followed before."""
        await self._client.following.close()

    def established(self) -> None:
        """Level with the source: calls, waits and fetches go on."""
        client = self._client
        self.settled = True
        client.following.level()
        client.calls.connected(client.epoch, self.resumed)
        client.watches.ask_again()
        client.fetch_again()

    def ping(self) -> Ping:
        """How far the replica is, and what was of no use; now and then, what it waits for."""
        self._beats += 1
        if self._beats % WATCH_BEATS == 0:
            self._client.watches.ask_again()
        return Ping(self._client.follower.number, self._client.deliveries.failed)

    def sources_heard(self) -> Iterable[tuple[str, float, int]]:
        """The source's two ways, each with its last word."""
        addr = self._client.addr
        yield addr, self.heard_at, self.pulse.every
        yield f"the feed of {addr}", self._client.follower.last_frame_at, 1

    @property
    def feed(self) -> str:
        """The feed's endpoint."""
        return self._client.follower.feed

    def followers(self) -> Iterable[Follower]:
        """The one of the replica, once there is one."""
        follower = self._client.following.follower
        return () if follower is None else (follower,)

    def pause(self) -> None:
        """The connection is gone: the follower cannot ask by it."""
        super().pause()
        self.settled = False
        self._client.following.pause()

    def ns_counts(self) -> dict[str, int]:
        """What became of mutations without reply, with all sources so far; by name."""
        past, now = self._ns_past, self.ns
        return {
            "ns_sent": self._ns_sent_past + self.ns_sent,
            "ns_lost": self.ns_lost,
            "ns_received": past.received + now.received,
            "ns_canceled": past.canceled + now.canceled,
            "ns_refused": past.refused + now.refused,
        }

    def _forgotten(self) -> None:
        """The source counts from the beginning again."""
        counts = self.ns_counts()
        self.ns_lost += self.ns_sent - self.ns.received
        self._ns_sent_past = counts["ns_sent"]
        self._ns_past = NsReport(
            counts["ns_received"], counts["ns_canceled"], counts["ns_refused"], self.ns.reason
        )
        self.ns = NsReport(0, 0, 0, "")
        self.ns_sent = 0

    # What the source says.

    def _heard(self, message: Message, blobs: Sequence[bytes]) -> None:
        if isinstance(message, Reply):
            self._on_reply(message)
        elif isinstance(message, Chunk):
            self._client.take_chunk(message, blobs[0] if blobs else b"")
        elif isinstance(message, Welcome):
            self._on_welcome(message)
        elif isinstance(message, Refusal):
            self._on_refusal(message)
        elif isinstance(message, Bye):
            self._on_bye(message)
        elif isinstance(message, NsReport):
            self._on_ns_report(message)
        elif isinstance(message, Listing):
            self._on_listing(message)
        elif (follower := self._client.following.follower) is None:
            self._count_garbage(f"{type(message).__name__} before Welcome")
        else:
            self._on_followed(follower, message)

    def _on_followed(self, follower: Follower, message: Message) -> None:
        """What only makes sense while a stream is followed."""
        if isinstance(message, CatchUp):
            follower.on_catch_up(message)
        elif isinstance(message, SnapshotReply):
            follower.on_snapshot(message)
        elif isinstance(message, Directed):
            if self._is_greeted:  # its count may be another source's; it is sent again
                self._client.take_directed(message)
        elif isinstance(message, Watched):
            if self._client.watches.happened(message.request, message.head):
                follower.await_number(self._client)
                follower.expect(message.head)
        else:
            self._count_garbage(f"{type(message).__name__} is not for a client")

    def _on_reply(self, message: Reply) -> None:
        follower = self._client.following.follower
        if follower is None:
            return
        head = message.head or follower.on_bodies(message.bodies)
        if self._client.calls.replied(message.request, message.result, head):
            follower.await_number(self._client)
            follower.expect(head)

    def _on_ns_report(self, message: NsReport) -> None:
        if message.refused > self.ns.refused:
            _log.warning(
                "[%s] mutations without reply: %d refused so far, the last one: %s",
                self._client.mach.id, message.refused, message.reason,
            )  # fmt: skip
        self.ns = message

    def _on_welcome(self, message: Welcome) -> None:
        client = self._client
        try:
            epoch = client.following.welcomed(message)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return
        except SchemaMismatch as error:
            self._connection.fail(error)
            return
        self.resumed = message.resumed and message.epoch == epoch
        if not self.resumed:
            client.deliveries.start_over()
            self._forgotten()
        self._is_greeted = True
        self._connection.request_limit = message.request_limit
        self.heartbeat = message.heartbeat_ms / 1000
        try:
            client.follower.join(client, reachable(message.feed, client.addr))
        except AmzmqError as error:
            self._connection.fail(error)
        else:
            self._connection.welcomed()

    def _on_refusal(self, message: Refusal) -> None:
        client = self._client
        if message.token:
            client.take_refusal(message)
        elif message.code == RefusalCode.STOPPING:
            self._connection.said_bye(message.reason)
        elif message.code == RefusalCode.NO_SESSION:
            if client.mach.is_("HandshakeDone"):
                client.mach.add("Handshaking")
        elif message.request:
            if not client.watches.refused(message.request, message.reason):
                client.calls.refused(message.request, message.code, message.reason)
        elif message.code == RefusalCode.UNREACHABLE:
            self._connection.said_bye(message.reason)
        else:
            self._connection.fail(refusal(message.code, message.reason))
