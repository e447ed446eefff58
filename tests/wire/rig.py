"""A follower's sink that notes everything it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from amzmq.wire.feed import PayloadFrame
from amzmq.wire.reader import StreamReader
from amzmq.wire.writer import Snapshot, StreamWriter

ID = b"streamid"
NAMES = ("A", "B", "C")


class Replica:
    """What a follower knows, and in which order it came to know it."""

    def __init__(self, names: Sequence[str] = NAMES) -> None:
        self.ticks = [0] * len(names)
        self.queue_tick = 0
        self.machine_tick = 0
        self.payloads: list[int] = []
        self.said: list[object] = []
        self.reader = StreamReader(names, self)

    def apply(self, changes: list[int], queue_ticks: int, machine_ticks: int) -> None:
        for index, delta in zip(changes[::2], changes[1::2], strict=True):
            self.ticks[index] += delta
        self.queue_tick += queue_ticks
        self.machine_tick += machine_ticks
        self.said.append(changes)

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
        self.writer = writer or StreamWriter(ID, NAMES)
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
