"""The source's end of a stream: numbers, encodes and remembers what it says.

Rules: every message that changes what a follower knows takes the next number; a heartbeat
takes none. What was said last (`_ticks`) moves only together with a message that says so, so
no change can be passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from amzmq.errors import FrameTooLarge
from amzmq.machine.compiled import CompiledSchema
from amzmq.wire.checksum import ClockSum
from amzmq.wire.codec import Value, plain_packer
from amzmq.wire.feed import UPDATE_BYTE, Heartbeat, PayloadFrame, SchemaFrame
from amzmq.wire.journal import Journal, JournalLimits
from amzmq.wire.schema import schema_hash, schema_value
from amzmq.wire.view import EVERYTHING, Scope, View

FRAME_MARGIN = 64
"""What a body may be shorter than a frame, for the message that carries it another way."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a follower needs to go on after message `number`.

    Attributes:
        number: The newest message that is in it.
        ticks: The clock, in index order.
        queue_tick, machine_tick: The two counters.
        payloads: How many payloads were sent up to `number`.
        checksum: Of the clock.
    """

    number: int
    ticks: tuple[int, ...]
    queue_tick: int
    machine_tick: int
    payloads: int
    checksum: int


class Cause(NamedTuple):
    """The mutation that made one update.

    Attributes:
        kind: Its `MutationType`.
        called: The machine's indexes of the states it called.
    """

    kind: int
    called: Sequence[int]


class StreamWriter:
    """One stream of a source: one view of one machine.

    Args:
        stream_id: 8 bytes; what followers subscribe to.
        epoch: 8 bytes of the source's incarnation; numbers mean something within it.
        schema: The machine's schema.
        view: What of it is told.
        limits: Of the journal.
        frame_limit: Bytes of the largest frame that may be sent.

    Attributes:
        scope: The view of the present schema.
        encoded: How many messages were encoded, heartbeats included.
        is_continued: Whether somebody else writes it, and it is only handed on here.

    Raises:
        SchemaMismatch: The view names states that the schema does not have.
    """

    is_continued = False

    def __init__(
        self,
        stream_id: bytes,
        epoch: bytes,
        schema: CompiledSchema,
        view: View = EVERYTHING,
        limits: JournalLimits | None = None,
        frame_limit: int = 1 << 32,
    ) -> None:
        self.stream_id = stream_id
        self.epoch = epoch
        self.view = view
        self.scope = Scope(view, schema)
        self._body_limit = frame_limit - FRAME_MARGIN
        self.encoded = 0
        self.updates = 0
        self.payloads = 0
        self._is_plain = self.scope.is_plain
        self._ticks = [0] * len(self.names)
        self._queue_tick = 0
        self._machine_tick = 0
        self._sum = ClockSum(self.names)
        # Names before each change of the schema, and the last number at which they held.
        self._former: list[tuple[int, tuple[str, ...]]] = []
        self._schema_facts: tuple[bytes, Value] | None = None
        self._journal = Journal(limits)
        self._snapshot: Snapshot | None = None
        # Updates are the hot path: this costs half of `encode`, and no Update object is made.
        self._pack = plain_packer()

    @property
    def head(self) -> int:
        """The number of the newest message."""
        return self._journal.head

    @property
    def journal(self) -> Journal:
        """What was said last."""
        return self._journal

    @property
    def names(self) -> tuple[str, ...]:
        """State names in the stream's index order."""
        return self.scope.schema.names

    @property
    def schema_hash(self) -> bytes:
        """Of what a follower knows of the schema, and of which states are tracked."""
        return self._schema_known()[0]

    @property
    def schema(self) -> Value:
        """What a follower knows of the schema, as of `schema_value`."""
        return self._schema_known()[1]

    def _schema_known(self) -> tuple[bytes, Value]:
        if self._schema_facts is None:
            known = self.scope.schema
            self._schema_facts = schema_hash(known), schema_value(known)
        return self._schema_facts

    def names_at(self, number: int) -> tuple[str, ...]:
        """The names by which a follower counts that has applied message `number`."""
        for last, names in self._former:
            if number <= last:
                return names
        return self.names

    def begin(self, ticks: Iterable[tuple[int, int]], queue_tick: int, machine_tick: int) -> None:
        """Start from a clock that no message tells of: followers begin with a snapshot."""
        for index, tick in self.scope.ticks(ticks):
            self._ticks[index] = tick
        self._queue_tick = queue_tick
        self._machine_tick = machine_tick
        self._sum.reset(self._ticks, queue_tick, machine_tick)
        self._snapshot = None

    def update(
        self,
        ticks: Iterable[tuple[int, int]],
        queue_tick: int,
        machine_tick: int,
        cause: Cause | None = None,
    ) -> bytes | None:
        """The frame that tells of the present ticks; None when nothing is new.

        Args:
            ticks: (index, tick) of the machine's states that may have changed.
            queue_tick: The present queue tick.
            machine_tick: The present machine tick.
            cause: The one mutation that made the change, for views that tell each.
        """
        if not self._is_plain:
            ticks = self.scope.ticks(ticks)
        known = self._ticks
        changes: list[int] = []
        for index, tick in ticks:
            delta = tick - known[index]
            if delta:
                known[index] = tick
                changes.append(index)
                changes.append(delta)
        queue_ticks = queue_tick - self._queue_tick
        machine_ticks = machine_tick - self._machine_tick
        if not changes and not queue_ticks and not machine_ticks:
            return None
        self._queue_tick = queue_tick
        self._machine_tick = machine_tick
        checksum = self._sum.advance(changes, queue_ticks, machine_ticks)
        self.updates += 1
        fields = (self._journal.head + 1, queue_ticks, changes, checksum)
        if cause is not None:
            called = self.scope.called(cause.called)
            fields = (*fields, machine_ticks, cause.kind, called)  # type: ignore[assignment]
        elif machine_ticks:
            fields = (*fields, machine_ticks)  # type: ignore[assignment]
        body: bytes = UPDATE_BYTE + self._pack(fields)
        self._journal.append(body)
        self._snapshot = None
        self.encoded += 1
        return self.stream_id + body

    def change_schema(self, schema: CompiledSchema) -> bytes:
        """The frame that tells of a schema with more states, or another order of them.

        Ticks are kept by name; what the new states have ticked, the next update tells.
        """
        known = dict(zip(self.names, self._ticks, strict=True))
        self._former.append((self.head, self.names))
        self.scope = Scope(self.view, schema)
        self._is_plain = self.scope.is_plain
        self._schema_facts = None
        self._ticks = [known.get(name, 0) for name in self.names]
        self._sum = ClockSum(self.names)
        self._sum.reset(self._ticks, self._queue_tick, self._machine_tick)
        return self._say(SchemaFrame(self.head + 1, self.schema, self.scope.tracked).body())

    def payload(
        self,
        name: str,
        data: Value,
        token: bytes,
        source_tx: str = "",
        blob: list[Value] | None = None,
        source: str = "",
    ) -> bytes:
        """The frame of a payload for everybody; the arguments are those of `PayloadFrame`.

        Raises:
            InvalidArgs: `data` has no form on the wire; nothing has been numbered then.
            FrameTooLarge: It is larger than a frame may be; likewise.
        """
        message = PayloadFrame(
            self.head + 1, self.payloads + 1, name, data, token, source_tx, blob, source
        )
        body = message.body()
        if len(body) > self._body_limit:
            raise FrameTooLarge(
                f"payload {name!r} takes {len(body)} bytes, {self._body_limit} are allowed; send "
                "less at once, or raise max_frame_bytes of SocketOptions on both sides"
            )
        self.payloads += 1
        return self._say(body)

    def heartbeat(self, is_stale: bool = False) -> bytes:
        """The frame that tells where the stream is, and whether its source is away."""
        self.encoded += 1
        return self.stream_id + Heartbeat(self.head, self._sum.value, is_stale).body()

    def snapshot(self) -> Snapshot:
        """All that was said so far in one; the same object until something is said."""
        if self._snapshot is None:
            self._snapshot = Snapshot(
                self.head,
                tuple(self._ticks),
                self._queue_tick,
                self._machine_tick,
                self.payloads,
                self._sum.value,
            )
        return self._snapshot

    def since(self, number: int) -> list[bytes] | None:
        """The bodies after message `number`; None when the journal does not reach back."""
        return self._journal.since(number)

    def end(self) -> None:
        """Nothing more will be said, and nobody asks what was: its journal is let go of."""
        self._journal.restart(self._journal.head)

    def _say(self, body: bytes) -> bytes:
        self._journal.append(body)
        self._snapshot = None
        self.encoded += 1
        return self.stream_id + body
