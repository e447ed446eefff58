"""A follower's sink that notes everything it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from amzmq.errors import SchemaMismatch
from amzmq.machine import State
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.wire.codec import Value
from amzmq.wire.feed import PayloadFrame, Update
from amzmq.wire.journal import JournalLimits
from amzmq.wire.reader import ClockNow, StreamReader
from amzmq.wire.schema import schema_from_value
from amzmq.wire.view import EVERYTHING, View
from amzmq.wire.writer import Snapshot, StreamWriter

ID = b"streamid"
EPOCH = b"epoch-01"
NAMES = ("A", "B", "Exception")


def schema_of(*names: str) -> CompiledSchema:
    """States without relations, in this order."""
    return compile_schema({name: State() for name in names}, names)


def writer_of(
    limits: JournalLimits | None = None, view: View = EVERYTHING, frame_limit: int = 1 << 32
) -> StreamWriter:
    """The stream of a machine with the states `NAMES`."""
    return StreamWriter(ID, EPOCH, schema_of(*NAMES), view, limits, frame_limit)


class Replica:
    """What a follower knows, and in which order it came to know it."""

    def __init__(self, names: Sequence[str] = NAMES) -> None:
        self.names = tuple(names)
        self.tracked: list[int] | None = None
        self.causes: list[tuple[int, list[int]]] = []
        self.ticks = [0] * len(names)
        self.queue_tick = 0
        self.machine_tick = 0
        self.payloads: list[int] = []
        self.said: list[object] = []
        self.is_watched = True
        self.reader = StreamReader(names, self)

    def apply(
        self,
        changes: list[int],
        queue_ticks: int,
        machine_ticks: int,
        cause: Update | None = None,
    ) -> None:
        if cause is not None:
            self.causes.append((cause.kind, list(cause.called)))
        for index, delta in zip(changes[::2], changes[1::2], strict=True):
            self.ticks[index] += delta
        self.queue_tick += queue_ticks
        self.machine_tick += machine_ticks
        self.said.append(changes)

    def adopt(self, schema: Value, tracked: list[int] | None) -> ClockNow:
        names = schema_from_value(schema).names
        if lost := set(self.names) - set(names):
            raise SchemaMismatch(f"lacks {lost}")
        known = dict(zip(self.names, self.ticks, strict=True))
        self.names, self.tracked = names, tracked
        self.ticks = [known.get(name, 0) for name in names]
        self.said.append(names)
        return ClockNow(names, self.ticks, self.queue_tick, self.machine_tick)

    def restore(self, snapshot: Snapshot) -> None:
        self.ticks = list(snapshot.ticks)
        self.queue_tick = snapshot.queue_tick
        self.machine_tick = snapshot.machine_tick
        self.said.append(snapshot)

    def deliver(self, payload: PayloadFrame) -> None:
        self.payloads.append(payload.ordinal)
        self.said.append(payload.data)

    @property
    def clock(self) -> tuple[tuple[int, ...], int, int]:
        return tuple(self.ticks), self.queue_tick, self.machine_tick


class Source:
    """A writer and the clock it publishes."""

    def __init__(self, writer: StreamWriter | None = None) -> None:
        self.writer = writer or writer_of()
        self.ticks = [0] * len(NAMES)
        self.queue_tick = 1
        self.machine_tick = 0
        self.writer.begin(enumerate(self.ticks), self.queue_tick, self.machine_tick)

    def tick(self, *indexes: int) -> bytes:
        """Ticks states (none: a canceled mutation); returns the update's body."""
        for index in indexes:
            self.ticks[index] += 1
        self.queue_tick += 1
        frame = self.writer.update(enumerate(self.ticks), self.queue_tick, self.machine_tick)
        assert frame is not None
        return frame[len(ID) :]

    def payload(self, data: object = None) -> bytes:
        return self.writer.payload("p", data, b"token")[len(ID) :]

    def heartbeat(self) -> bytes:
        return self.writer.heartbeat()[len(ID) :]

    @property
    def clock(self) -> tuple[tuple[int, ...], int, int]:
        return tuple(self.ticks), self.queue_tick, self.machine_tick
