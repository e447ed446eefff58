"""Which stream a client follows, and the replica that shows it.

The replica lives as long as the client; the stream changes when the source is restarted, or is
reached by another way.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from amzmq.errors import FrameInvalid, SchemaMismatch
from amzmq.machine.compiled import CompiledSchema
from amzmq.rpc.replica.caller import Caller
from amzmq.rpc.replica.follower import FeedConnector, Follower, Member, follower_of
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.wire.control import Welcome
from amzmq.wire.schema import schema_from_value, schema_hash
from amzmq.wire.view import View


class Owner(Caller, Member, Protocol):
    """A client: it carries the replica's calls, and takes part in the follower."""


class Following:
    """A client's stream and replica.

    Args:
        name: Names the replica, ``rnm-<name>``.
        view: What of the machine is followed.
        expected: The schema that the client was told to expect, if any.
        filters: Whether the replica answers hopeless mutations itself.
        transport: What carries the frames; None for ZeroMQ.
        owner: The client.

    Attributes:
        net: The replica; None before the first Welcome.
        follower: What keeps it level; None before that, and after the end.
        epoch: Of the source; b"" before that.
    """

    def __init__(
        self,
        name: str,
        view: View,
        expected: CompiledSchema | None,
        filters: bool,
        transport: FeedConnector | None,
        owner: Owner,
    ) -> None:
        self.net: NetworkMachine | None = None
        self.follower: Follower | None = None
        self.epoch = b""
        self._name = name
        self._view = view
        self._expected = expected
        self._filters = filters
        self.transport: FeedConnector | None = transport
        self._owner = owner
        self._is_level = False
        self._former: list[Follower] = []
        self._past: Counter[str] = Counter()
        self._joined: dict[str, int] = {}

    @property
    def known_hash(self) -> bytes:
        """Of the schema that is known; b"" for none."""
        known = self._expected if self.net is None else self.net.compiled
        return b"" if known is None else schema_hash(known)

    def welcomed(self, message: Welcome) -> bytes:
        """Follow the stream of the Welcome; returns the epoch that was followed before.

        Raises:
            FrameInvalid: What it says of the schema cannot be read.
            SchemaMismatch: The schema lacks states that are known here.
        """
        schema = self._schema_of(message)
        follower = follower_of(
            message.stream_id, message.epoch, schema, message.tracked, self.transport
        )
        if self.net is None:
            self.net = NetworkMachine(
                f"rnm-{self._name}",
                follower.clock,
                message.machine_id,
                self._owner,
                filters=self._filters,
            )
        else:
            if follower.number < 0 and self.follower is not None and not follower.members:
                follower.clock.inherit(self.follower.clock)
            self.net.follow(follower.clock)
        path = tuple(str(node) for node in message.path or ())
        self.net.came_from(message.machine_id, path, message.groups or {})
        if follower is not self.follower:
            self.leave()
            self.follower = follower
            self._joined = follower.counts()
        before, self.epoch = self.epoch, message.epoch
        return before

    def _schema_of(self, message: Welcome) -> CompiledSchema:
        known = self._expected if self.net is None else self.net.compiled
        if message.schema is not None:
            told = schema_from_value(message.schema)
            if self._expected is not None and self._view.schema:
                _check_expected(self._expected, told)
            return told
        if known is None:
            raise FrameInvalid("Welcome without a schema, and none is known")
        return known

    def counts(self) -> dict[str, int]:
        """What happened on the streams since this client came to them, by name."""
        counts = self._past.copy()
        if self.follower is not None:
            counts.update(self.follower.counts())
            counts.subtract(self._joined)
        return dict(counts)

    @property
    def is_stale(self) -> bool:
        """Whether whoever tells of the machine has lost its own source."""
        return self.follower is not None and self.follower.is_stale

    def level(self) -> None:
        """The replica is level with its source."""
        self._is_level = True
        self.mark()

    def pause(self) -> None:
        """The conversation is gone: the follower cannot ask by it."""
        self._is_level = False
        self.mark()
        if self.follower is not None:
            self.follower.pause(self._owner)

    def mark(self) -> None:
        """Mark the replica if the source is away, be it from here or from a node in between."""
        if self.net is not None:
            self.net.is_stale = not self._is_level or self.is_stale

    def leave(self) -> None:
        """Follow no stream; its sockets are released by whoever leaves last."""
        if self.follower is not None:
            self._past = Counter(self.counts())
            self.follower.leave(self._owner)
            self._former.append(self.follower)
            self.follower = None

    async def close(self) -> None:
        """Release what was left."""
        while self._former:
            await self._former[-1].close()
            self._former.pop()


def _check_expected(expected: CompiledSchema, told: CompiledSchema) -> None:
    if lost := [name for name in expected.names if name not in told.index]:
        raise SchemaMismatch(
            f"the source's schema has no {' '.join(lost)}; the client was given a schema that "
            "has: follow another machine, or leave out schema="
        )
