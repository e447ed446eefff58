"""What every conversation with a source has in common, whoever has it and of how many machines.

The connection opens and closes the way; a talk understands what comes over it.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial

from amzmq.errors import FrameInvalid, NotConnected
from amzmq.rpc.client.connection import Connection
from amzmq.rpc.client.farewell import Farewell
from amzmq.rpc.client.pulse import Pulse
from amzmq.rpc.listing import MachineInfo, machines_of
from amzmq.rpc.replica.follower import Follower
from amzmq.wire.control import Bye, List, Listing, Message, Ping, Pong
from amzmq.wire.control_frames import from_frame

_log = logging.getLogger("amzmq.client")


class Talk(ABC):
    """One end of a conversation.

    Args:
        name: Of who has it, for the log.
        connection: Carries it.

    Attributes:
        heard_at: Loop time of the last message; 0 before the first.
        heartbeat: Seconds between heartbeats, as the source wants it.
        garbage: Messages that could not be read.
        pulse: When to beat.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self.heard_at = 0.0
        self.heartbeat = 1.0
        self.garbage = 0
        self.pulse = Pulse()
        self._name = name
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._listings: dict[int, asyncio.Future[Listing]] = {}
        self._last_listing = 0
        self._farewell: Farewell | None = None

    def end(self) -> None:
        """Nothing more will be said."""
        for listing in self._listings.values():
            listing.cancel()

    # How it goes, from Hello to the end. The connection calls these in turn.

    @abstractmethod
    async def introduce(self) -> None:
        """Say Hello; the source's answer is `Connection.welcomed`.

        Raises:
            TimeoutError: The connection is lost again already.
        """

    @abstractmethod
    async def fed(self) -> None:
        """Wait until the feed arrives."""

    @abstractmethod
    async def catch_up(self, timeout: float) -> None:
        """Get level with the source.

        Raises:
            TimeoutError: It did not answer in time.
        """

    @abstractmethod
    async def let_go(self) -> None:
        """Release what was followed before, of a source that is gone."""

    @abstractmethod
    def established(self) -> None:
        """Level with the source: what waited for that goes on."""

    @abstractmethod
    def ping(self) -> Ping:
        """That one lives, and how far one is."""

    @abstractmethod
    def sources_heard(self) -> Iterable[tuple[str, float, int]]:
        """Whom to listen to: a name for people, its last word's loop time, beats between words."""

    @property
    @abstractmethod
    def feed(self) -> str:
        """The feed's endpoint; "" if it is not known."""

    @abstractmethod
    def followers(self) -> Iterable[Follower]:
        """What keeps the replicas level."""

    def pause(self) -> None:
        """The connection is gone: nothing can be asked until the next one."""
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None

    @abstractmethod
    def _heard(self, message: Message, blobs: Sequence[bytes]) -> None:
        """A message that makes sense arrived."""

    # What is the same for all.

    def on_message(self, frame: bytes, blobs: Sequence[bytes]) -> None:
        """A message of the conversation arrived."""
        self.heard_at = self._loop.time()
        try:
            message = from_frame(frame)
        except FrameInvalid as error:
            self._count_garbage(str(error))
            return
        if isinstance(message, Pong):
            self.pulse.asked(message.every)
        else:
            self._heard(message, blobs)

    async def machines(self, timeout: float) -> list[MachineInfo]:
        """Which machines the source's Mux serves.

        Raises:
            NotConnected: There is no source at this moment, or it did not answer.
        """
        self._last_listing += 1
        request = self._last_listing
        answer: asyncio.Future[Listing] = self._loop.create_future()
        self._listings[request] = answer
        addr = self._connection.addr
        try:
            async with asyncio.timeout(timeout):
                if not self._connection.send(List(request)):
                    raise NotConnected(f"{addr} is not connected; wait for Ready")
                return machines_of(await answer)
        except TimeoutError:
            raise NotConnected(f"{addr} did not answer in time") from None
        finally:
            del self._listings[request]

    def _on_bye(self, message: Bye) -> None:
        """The source ends the conversation as planned; what it said before comes first."""
        if self._farewell is not None:
            self._farewell.cancel()
        heard = partial(self._connection.said_bye, message.reason)
        self._farewell = Farewell(message.heads or (), self.followers(), heard)

    def _on_listing(self, message: Listing) -> None:
        answer = self._listings.get(message.request)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _count_garbage(self, reason: str) -> None:
        self.garbage += 1
        if self.garbage == 1:
            _log.warning("[%s] %s (further ones are only counted)", self._name, reason)


def reachable(feed: str, addr: str) -> str:
    """The feed's endpoint as seen from here: its port, at the host that was connected to.

    A source bound to all interfaces, or behind another name, does not know how it is reached.
    """
    if not (feed.startswith("tcp://") and addr.startswith("tcp://")):
        return feed
    host = addr.removeprefix("tcp://").rpartition(":")[0]
    return f"tcp://{host}:{feed.rpartition(':')[2]}"
