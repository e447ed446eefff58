"""The part of a `Mux` that sends payloads and blobs (spec rpc 8)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import partial

from amzmq.errors import DestinationUnknown, NotConnected
from amzmq.machine import Event, Machine
from amzmq.net import Delivery, Router
from amzmq.rpc.blobdesk import BlobDesk, ClientKey
from amzmq.rpc.blobs.blobstore import BlobStore, Offer
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.feed import Feed
from amzmq.rpc.server.posting import Posting
from amzmq.rpc.server.receipt import Receipt
from amzmq.rpc.server.server import Server
from amzmq.rpc.server.sessions import Sessions
from amzmq.rpc.server.sources import Sources, served_id
from amzmq.wire.blobs import CHUNK_SIZE
from amzmq.wire.blobsource import BlobData
from amzmq.wire.codec import Value, encode
from amzmq.wire.control import Fetch, Message
from amzmq.wire.control_frames import to_frame


class Sending:
    """Sends what goes beside the states; it is only a part, never used alone."""

    mach: Machine
    _router: Router | None
    _loop: asyncio.AbstractEventLoop
    _thread: int

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._sessions = Sessions()
        self._blobs = BlobStore()
        self._above: dict[ClientKey, BlobDesk] = {}

    def send_payload(
        self,
        name: str,
        data: Value,
        destination: str | None = None,
        event: Event | None = None,
        *,
        machine: str = "",
    ) -> Receipt:
        """Send data to every follower of a machine, or to one client, in order with the states.

        Args:
            name: Which kind of payload, for the receiver.
            data: None, bool, int, float, str, bytes, and lists and dicts of these.
            destination: A client's id (``rc-<name>``) or its name; None is everybody.
            event: The event of the handler that sends it, for tracing.
            machine: Id of the machine whose followers get it; the default one if empty.

        Returns:
            Tells what became of it: ``await`` it, or look at its `token`.

        Raises:
            InvalidArgs: `data` has no form on the wire.
            FrameTooLarge: It is larger than a frame may be.
            DestinationUnknown: There is no such client.
            LimitExceeded: The client leaves too many unconfirmed.
        """
        target = self._target(name, destination, machine)
        source_tx = "" if event is None else event.transition_id
        return self._post(Posting(target, name, data, source_tx))

    async def send_blob(
        self,
        name: str,
        data: BlobData,
        destination: str | None = None,
        event: Event | None = None,
        *,
        machine: str = "",
        chunk_size: int = CHUNK_SIZE,
    ) -> Offer:
        """Offer bytes too many for a payload: bytes, a file's path, or a binary file.

        The arguments and errors are those of `send_payload`; on the event loop's thread only.

        Returns:
            Tells who took it; `close` it when nobody needs it any more.

        Raises:
            InvalidArgs: `data` is no blob, or too many are offered.
            BlobDamaged: A file cannot be read to its end.
        """
        target = self._target(name, destination, machine)
        offer = self._blobs.offer(await self._blobs.prepare(data, chunk_size))
        source_tx = "" if event is None else event.transition_id
        try:
            Posting(target, name, None, source_tx, offer.facts, offer.token).send()
        except BaseException:
            offer.close("it could not be announced")
            raise
        return offer

    def _target(self, name: str, destination: str | None, machine: str) -> Feed | Server:
        if self._router is None:
            raise NotConnected(f"{self.mach.id} does not serve; start() it first")
        if destination is not None:
            return self._server_of(destination, name)
        feed = self._sources.feed_of(served_id(self._sources.find(machine)))
        assert feed is not None, "every machine that is served has a feed"
        return feed

    def _post(self, posting: Posting) -> Receipt:
        if threading.get_ident() == self._thread:
            posting.send()
        else:
            encode(posting.data)  # what cannot travel is the caller's error, not the loop's
            self._loop.call_soon_threadsafe(posting.try_to_send)
        return posting.receipt

    def _send_for_state(
        self, name: str, data: Value, destination: str | None, event: Event
    ) -> Receipt:
        return self.send_payload(name, data, destination, event, machine=event.machine_id)

    def _server_of(self, destination: str, name: str) -> Server:
        server = self._sessions.named(destination)
        if server is None:
            known = {other.client.name for other in self._sessions}
            raise DestinationUnknown(
                f"payload {name!r}: no client {destination!r}; connected are: "
                f"{' '.join(sorted(known)) or 'none'}"
            )
        return server

    def _on_fetch(self, peer: bytes, server: Server, message: Fetch) -> None:
        desk = self._blobs if message.token in self._blobs else self._desk_of(server)
        desk.on_fetch(server.client, message, partial(self._send_part, peer), server.understood)

    def _desk_of(self, server: Server) -> BlobDesk:
        """What has the blobs that are not offered here: the client's machine may be a replica."""
        source = server.feed.source
        above = source.blobs.desk if isinstance(source, NetworkMachine) else None
        if above is None:
            return self._blobs
        self._above[server.client] = above
        return above

    def _forget_fetches(self, server: Server) -> None:
        self._blobs.forget(server.client)
        if (above := self._above.pop(server.client, None)) is not None:
            above.forget(server.client)

    def _send_part(self, peer: bytes, message: Message, blobs: Sequence[bytes]) -> bool:
        """Answer a Fetch; whether it was taken."""
        return (
            self._router is not None
            and self._router.send(peer, to_frame(message), blobs) is Delivery.SENT
        )
