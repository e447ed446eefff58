"""How a relay publishes a machine: the whole of it verbatim, parts of it encoded anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amzmq.errors import Refused, SchemaMismatch
from amzmq.machine import ClockReading
from amzmq.rpc.payload import Payload
from amzmq.rpc.relay.stream import RelayStream
from amzmq.rpc.replica.follower import Follower
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.feed import Feed, FeedOptions
from amzmq.wire.codec import Value
from amzmq.wire.view import EVERYTHING, View
from amzmq.wire.writer import StreamWriter


class RelayFeed(Feed):
    """Publishes a replica.

    Args:
        source: The replica.
        epoch: 8 bytes, for the streams that are written here.
        options: How it is published.
        follower: Of the whole machine, level with its source.
        on_beat: Called before each heartbeat.
        former: The feed that this one replaces; its counts go on.

    Attributes:
        is_frozen: Whether the streams written here stand still: the replica's source is away,
            and what the replica shows until it is back is not a state of the machine.
    """

    def __init__(
        self,
        source: NetworkMachine,
        epoch: bytes,
        options: FeedOptions,
        follower: Follower,
        on_beat: Callable[[], None],
        former: RelayFeed | None = None,
    ) -> None:
        self.is_frozen = False
        self._past_restarts = 0 if former is None else former.restarts
        self.follower = follower
        self._on_beat = on_beat
        super().__init__(source, epoch, options)

    def _open_full(self, start: ClockReading) -> StreamWriter:
        options = self._options
        stream = self._continued = RelayStream(
            self.follower, EVERYTHING, options.limits, options.frame_limit, options.send
        )
        self._add(stream)
        return stream

    @property
    def restarts(self) -> int:
        """How often the journal began anew, behind a hole that no message filled."""
        return self._past_restarts + self._continued.restarts

    def join(self, view: View, user: str = "") -> StreamWriter:
        """The stream of a view; see `Feed.join`.

        Raises:
            SchemaMismatch: The view names states that the machine does not have, or wants each
                mutation by itself: this relay is told of them merged.
            LimitExceeded: The machine has too many different views already, or the user.
        """
        if view.mutations:
            raise SchemaMismatch(
                f"a relay follows merged updates of {self.source.id}, not every mutation; leave "
                "out sync_mutations, or connect to the machine's owner"
            )
        return super().join(view, user)

    def freeze(self, frozen: bool) -> None:
        """Whether the streams written here stand still; then they go on, with what came of it.

        The followers are told at once that the source is away, or back.
        """
        self.is_frozen = frozen
        self.beat()

    def _frames(self) -> Sequence[bytes]:
        return () if self.is_frozen else super()._frames()

    def beat(self) -> None:
        """Publish where the streams are."""
        self._on_beat()
        super().beat()

    def send_payload(
        self,
        name: str,
        data: Value,
        token: bytes,
        source_tx: str,
        blob: list[Value] | None = None,
        source: str = "",
    ) -> None:
        """Refused: payloads for everybody are numbered by the machine's owner.

        Raises:
            Refused: Always.
        """
        raise Refused(
            f"payload {name!r} for everybody: a relay continues the numbers of its source, and "
            "adds none; send it at the machine's owner, or to one client by destination="
        )

    def pass_payload(self, payload: Payload, blob: list[Value] | None = None) -> None:
        """Publish a payload of the source's, or a blob's offer, on the streams written here."""
        super().send_payload(
            payload.name, payload.data, payload.token, payload.source_tx, blob, payload.source
        )
