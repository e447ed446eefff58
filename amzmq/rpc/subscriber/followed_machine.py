"""One of the machines that a `Subscriber` follows: its stream, and its read-only replica."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from typing import NoReturn, Protocol

from amzmq.errors import NoAccess, NotConnected, SchemaMismatch
from amzmq.machine import MutationType, Result
from amzmq.machine.event import HasSource
from amzmq.rpc.client.following import Following
from amzmq.rpc.replica.follower import FeedConnector, Follower
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.replica.watches import RemoteWait
from amzmq.rpc.subscriber.changes import ChangeFn, EachChange, NewestChange
from amzmq.wire.control import Follow, Followed, Hello, Sync, WatchKind, Welcome
from amzmq.wire.feed import PayloadFrame
from amzmq.wire.view import View


class Audience(Protocol):
    """Whom a followed machine talks to, and through: its subscriber."""

    def ask(self, machine: FollowedMachine, message: Sync) -> bool:
        """Put a question about its stream; False when there is no connection."""

    def deliver(self, machine: FollowedMachine, frame: PayloadFrame) -> None:
        """It sent a payload."""

    def applied(self, machine: FollowedMachine, number: int) -> bool:
        """It is applied up to `number`; whether something still waits for more."""

    def beat(self) -> None:
        """The feed's heartbeat arrived."""

    def tell_stale(self) -> None:
        """Whoever publishes a machine has lost its own source, or found it again."""

    def misfit(self, machine: FollowedMachine, error: SchemaMismatch) -> None:
        """It has lost states that are followed here."""


class FollowedMachine:
    """Follows one machine on behalf of a subscriber.

    Args:
        id: The machine's, as the Mux lists it.
        name: Of the subscriber.
        view: What of it is followed.
        feed: What carries its stream.
        audience: The subscriber.

    Attributes:
        is_followed: Whether the source tells of it at present.
    """

    def __init__(
        self, id: str, name: str, view: View, feed: FeedConnector, audience: Audience
    ) -> None:
        self.id = id
        self.is_followed = False
        self.following = Following(f"{name}.{id}", view, None, False, feed, self)
        self._view = view
        self._audience = audience
        self._teller: EachChange | NewestChange | None = None

    @property
    def follower(self) -> Follower:
        """What keeps the replica level.

        Raises:
            NotConnected: The machine is not followed now; it may have been a moment ago.
        """
        if self.following.follower is None:
            raise NotConnected(f"{self.id} is not followed; the source may serve it again")
        return self.following.follower

    @property
    def net(self) -> NetworkMachine:
        """The replica."""
        assert self.following.net is not None, "not followed yet"
        return self.following.net

    # How it begins and ends.

    def hello(self, hello: Hello) -> Hello:
        """A Hello that asks for this machine."""
        return hello._replace(
            schema_hash=self.following.known_hash, machine_id=self.id, view=self._view.value()
        )

    def follow(self, request: int) -> Follow:
        """What asks for this machine over a connection that there is already."""
        return Follow(request, self.id, self._view.value(), self.following.known_hash)

    def welcomed(self, message: Welcome | Followed, feed: str) -> bytes:
        """The source tells of the stream, which is to be had at `feed`; returns the former epoch.

        Raises:
            FrameInvalid: What it says of the schema cannot be read.
            SchemaMismatch: The schema lacks states that are known here.
            AddressInvalid: The feed is no endpoint.
        """
        if isinstance(message, Followed):
            message = Welcome(
                0, message.epoch, message.stream_id, feed, message.machine_id, 0, message.schema,
                False, 0, message.tracked, message.path, message.groups,
            )  # fmt: skip
        epoch = self.following.welcomed(message)
        self.follower.join(self, feed)
        self.is_followed = True
        return epoch

    def tell(self, tell: ChangeFn, conflates: bool, interval: float) -> None:
        """Tell of changes from now on, unless that is so already."""
        if self._teller is None:
            if conflates:
                self._teller = NewestChange(self.net, tell, interval)
            else:
                self._teller = EachChange(self.net, tell)

    def pause(self) -> None:
        """The source does not tell of it any more; what is known stays."""
        self.is_followed = False
        self.following.pause()

    async def end(self) -> None:
        """Let go of it."""
        if self._teller is not None:
            self._teller.end()
            self._teller = None
        if (net := self.following.net) is not None:
            net.dispose()
            await net.when_disposed()
        self.following.leave()
        await self.following.close()

    # As a member of its follower.

    def ask(self, message: Sync) -> bool:
        """Put a question of the follower's."""
        return self._audience.ask(self, message._replace(stream_id=self.follower.stream_id))

    def deliver(self, frame: PayloadFrame) -> None:
        """A payload for everybody."""
        self._audience.deliver(self, frame)

    def applied(self, number: int) -> bool:
        """The stream is applied up to `number`; whether something still waits for more."""
        return self._audience.applied(self, number)

    def beat(self) -> None:
        """The stream's heartbeat arrived."""
        self._audience.beat()

    def aged(self) -> None:
        """Whoever publishes the stream has lost its own source, or found it again."""
        self.following.mark()
        self._audience.tell_stale()

    def misfit(self, error: SchemaMismatch) -> None:
        """The source's schema has lost states that are followed here."""
        self._audience.misfit(self, error)

    # As what carries the replica's mutations: it carries none.

    def call(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Future[Result]:
        """Refused.

        Raises:
            NoAccess: Always.
        """
        self._refuse(f"{kind} of states {list(called)}")

    def notify(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Result:
        """Refused.

        Raises:
            NoAccess: Always.
        """
        self._refuse(f"{kind} of states {list(called)}")

    def watch(
        self, kind: WatchKind, called: tuple[int, ...], args: Mapping[str, object] | None
    ) -> RemoteWait:
        """Refused.

        Raises:
            NoAccess: Always.
        """
        self._refuse("a wait at the source")

    @property
    def blobs_above(self) -> None:
        """None: a subscriber does not fetch blobs."""

    def renumber(self, new: Mapping[int, int]) -> None:
        """Nothing is on its way that counts by indexes."""

    def _refuse(self, what: str) -> NoReturn:
        raise NoAccess(
            f"{what} of {self.id!r}: a Subscriber only reads; use a Client to change a machine"
        )
