"""What is said between a client and a source, apart from how it is carried (spec rpc 3).

The connection opens and closes the way; this understands what comes over it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from amzmq.errors import AmzmqError, FrameInvalid, NotConnected, SchemaMismatch
from amzmq.rpc.calls import refusal
from amzmq.rpc.follower import Follower
from amzmq.rpc.listing import MachineInfo, machines_of
from amzmq.wire.compression import encodings
from amzmq.wire.control import (
    PROTOCOL_VERSION,
    Bye,
    CatchUp,
    Chunk,
    Directed,
    Hello,
    List,
    Listing,
    Message,
    NsReport,
    Pong,
    Refusal,
    RefusalCode,
    Reply,
    SnapshotReply,
    Watched,
    Welcome,
    from_frame,
)

if TYPE_CHECKING:
    from amzmq.rpc.client import Client
    from amzmq.rpc.connection import Connection

_log = logging.getLogger("amzmq.client")


class Conversation:
    """One client's end of the conversation.

    Args:
        client: Whose it is.
        connection: Carries it.
        incarnation: 8 random bytes of the client; a reconnect keeps them.
        machine_id: The machine that it wants; "" for the default one.

    Attributes:
        heard_at: Loop time of the last message; 0 before the first.
        resumed: Whether the source remembers this client from before.
        heartbeat: Seconds between heartbeats, as the source wants it.
        ns: What the source has reported of the mutations without reply.
        ns_sent: How many of those were sent since the source first heard of this client.
        ns_lost: How many are not known to have arrived at sources that forgot this client.
        garbage: Messages that could not be read.
    """

    def __init__(
        self, client: Client, connection: Connection, incarnation: bytes, machine_id: str
    ) -> None:
        self.heard_at = 0.0
        self.resumed = False
        self.heartbeat = 1.0
        self.ns = NsReport(0, 0, 0, "")
        self.ns_sent = 0
        self.ns_lost = 0
        self.garbage = 0
        self._client = client
        self._connection = connection
        self._incarnation = incarnation
        self._machine_id = machine_id
        self._loop = asyncio.get_running_loop()
        self._listings: dict[int, asyncio.Future[Listing]] = {}
        self._last_listing = 0

    def end(self) -> None:
        """The client is stopped."""
        for listing in self._listings.values():
            listing.cancel()

    # What is asked.

    def hello(self) -> Hello:
        """How the client introduces itself."""
        client = self._client
        return Hello(
            PROTOCOL_VERSION,
            client.mach.id,
            self._incarnation,
            client.following.known_hash,
            self._machine_id,
            client.view.value(),
            list(encodings()),
        )

    async def machines(self, timeout: float) -> list[MachineInfo]:
        """Which machines the source's Mux serves.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
        """
        self._last_listing += 1
        request = self._last_listing
        answer: asyncio.Future[Listing] = self._loop.create_future()
        self._listings[request] = answer
        addr = self._client.addr
        try:
            async with asyncio.timeout(timeout):
                if not self._connection.send(List(request)):
                    raise NotConnected(f"{addr} is not connected; wait for Ready")
                return machines_of(await answer)
        except TimeoutError:
            raise NotConnected(f"{addr} did not answer in time") from None
        finally:
            del self._listings[request]

    # What the source says.

    def on_message(self, frame: bytes, blobs: Sequence[bytes]) -> None:
        """A message of the conversation arrived."""
        self.heard_at = self._loop.time()
        try:
            message = from_frame(frame)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return
        if isinstance(message, Reply):
            self._on_reply(message)
        elif isinstance(message, Pong):
            pass  # `last_msg_at` is all it is for
        elif isinstance(message, Chunk):
            self._client.fetcher.on_chunk(message, blobs[0] if blobs else b"")
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

    def _on_listing(self, message: Listing) -> None:
        answer = self._listings.get(message.request)
        if answer is not None and not answer.done():
            answer.set_result(message)

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
            self.ns_lost += self.ns_sent - self.ns.received
            self.ns = NsReport(0, 0, 0, "")
            self.ns_sent = 0
        self._connection.request_limit = message.request_limit
        self.heartbeat = message.heartbeat_ms / 1000
        try:
            client.follower.join(client, _reachable(message.feed, client.addr))
        except AmzmqError as error:
            self._connection.fail(error)
        else:
            self._connection.welcomed()

    def _on_refusal(self, message: Refusal) -> None:
        client = self._client
        if message.token:
            client.fetcher.on_refused(message.token, message.reason)
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

    def _on_bye(self, message: Bye) -> None:
        self._connection.said_bye(message.reason)

    def _count_garbage(self, reason: str) -> None:
        self.garbage += 1
        if self.garbage == 1:
            name = self._client.mach.id
            _log.warning("[%s] %s (further ones are only counted)", name, reason)


def _reachable(feed: str, addr: str) -> str:
    """The feed's endpoint as seen from here: its port, at the host that was connected to.

    A source bound to all interfaces, or behind another name, does not know how it is reached.
    """
    if not (feed.startswith("tcp://") and addr.startswith("tcp://")):
        return feed
    host = addr.removeprefix("tcp://").rpartition(":")[0]
    return f"tcp://{host}:{feed.rpartition(':')[2]}"
