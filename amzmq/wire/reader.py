"""The follower's end of a stream: one ordered way in for pushes, replies and snapshots.

Rules:
- A message is applied exactly when its number is the next one. Older ones are duplicates and
  dropped; later ones are kept aside until the hole before them is filled.
- A diff is checked *before* it is applied: what the sink sees has always been right.
- Updates that arrived together are applied as one where nobody could tell the difference.
- A hole, a wrong checksum, or a heartbeat that is ahead leaves the reader `behind`. It says
  so; whoever owns it asks the source once, and hands the answer in by the same ways.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgpack

from amzmq.errors import FrameInvalid
from amzmq.wire.checksum import CHECKSUM_MASK, ClockSum
from amzmq.wire.codec import Value
from amzmq.wire.feed import (
    UPDATE_BYTE,
    FeedMessage,
    Heartbeat,
    PayloadFrame,
    SchemaFrame,
    Update,
    parse_body,
)
from amzmq.wire.runs import merge, usual_updates
from amzmq.wire.writer import Snapshot

_LISTS = {list}

_USUAL_LENGTH = {4}
"""Fields of an update that tells of no imports and of no single mutation."""

AHEAD_LIMIT = 8192
"""Messages kept aside while a hole is open; more than a journal's answer usually bridges."""


class ReaderSink(Protocol):
    """Where the stream's content goes, in the source's order."""

    @property
    def is_watched(self) -> bool:
        """Whether somebody is told of each update, and could tell several from their sum."""

    def apply(
        self,
        changes: list[int],
        queue_ticks: int,
        machine_ticks: int,
        cause: Update | None = None,
    ) -> None:
        """A diff: index, ticks added, index, ticks added, ...; and the counters' growth.

        `cause` is the whole message if it tells of one mutation.
        """

    def adopt(self, schema: Value, tracked: list[int] | None) -> ClockNow:
        """Another schema; the clock that is known, in its order.

        Raises:
            FrameInvalid: It is no schema.
            SchemaMismatch: It lacks states of the present one; nothing was changed.
        """

    def restore(self, snapshot: Snapshot) -> None:
        """A whole clock, which replaces what was known."""

    def deliver(self, payload: PayloadFrame) -> None:
        """A payload."""


class ClockNow(NamedTuple):
    """A clock as the source has told it.

    Attributes:
        names: The states in index order.
        ticks: Theirs; 0 for those that are not tracked.
        queue_tick, machine_tick: The two counters.
    """

    names: Sequence[str]
    ticks: Sequence[int]
    queue_tick: int
    machine_tick: int


class Need(enum.Enum):
    """What a reader wants from the source."""

    NOTHING = "nothing"
    MISSING = "what follows its number"
    SNAPSHOT = "a snapshot"


@dataclass(slots=True)
class ReaderCounters:
    """What happened on the way; only ever grows.

    Attributes:
        updates: Diffs applied.
        payloads: Payloads delivered.
        duplicates: Messages dropped because they were known.
        gaps: Times that messages were found missing.
        mismatches: Diffs whose checksum was wrong.
        snapshots: Snapshots taken over.
        payloads_lost: Payloads that a snapshot passed over.
        overflows: Messages dropped because too many were ahead of a hole.
    """

    updates: int = 0
    payloads: int = 0
    duplicates: int = 0
    gaps: int = 0
    mismatches: int = 0
    snapshots: int = 0
    payloads_lost: int = 0
    overflows: int = 0


Numbered: TypeAlias = Update | PayloadFrame | SchemaFrame


class StreamReader:
    """One stream as a follower sees it.

    Args:
        names: State names in index order.
        sink: Gets the content.

    Attributes:
        number: The newest message applied; -1 before the first snapshot.
        need: What to ask the source for.
        counters: What happened so far.
        is_stale: Whether the last heartbeat said that its sender has lost its own source.
    """

    def __init__(self, names: Sequence[str], sink: ReaderSink) -> None:
        self.number = -1
        self.need = Need.SNAPSHOT
        self.counters = ReaderCounters()
        self.is_stale = False
        self._payloads = 0
        self._known_head = -1  # the highest number heard of: beyond ours, something is missing
        self._sink = sink
        self._count = len(names)
        self._sum = ClockSum(names)
        self._ahead: dict[int, Numbered] = {}

    @property
    def payloads(self) -> int:
        """How many payloads the source had sent up to `number`."""
        return self._payloads

    @property
    def checksum(self) -> int:
        """Of the clock at `number`."""
        return self._sum.value

    def push(self, data: bytes, start: int = 0) -> int:
        """A message from the feed, or one of a reply; returns its number.

        Args:
            data: Holds the body.
            start: Where the body begins in it.

        Raises:
            FrameInvalid: The bytes are no message of this stream; nothing was changed.
        """
        if self.need is Need.NOTHING and data[start : start + 1] == UPDATE_BYTE:
            number = self._push_next(data[start + 1 :])
            if number:
                return number
        message = parse_body(data[start:])
        self.take(message)
        return message.number

    def push_run(self, frames: Sequence[bytes], start: int) -> int:
        """Messages that had arrived together, as long as they are the usual; returns how many.

        Args:
            frames: Each holds a body.
            start: Where the bodies begin in them.
        """
        if self.need is not Need.NOTHING or len(frames) < 2:
            return 0
        updates = usual_updates(frames, start)
        if not self._sink.is_watched and (count := self._use_together(updates)):
            return count
        use = self._use_usual
        for at, update in enumerate(updates):
            if not use(update):
                return at
        return len(updates)

    def _use_together(self, updates: Sequence[Sequence[Any]]) -> int:
        """Apply updates as one, if all are of the usual form, the next ones, and right in the end.

        Returns how many; nothing was changed if none.
        """
        try:
            if not updates or set(map(len, updates)) != _USUAL_LENGTH:
                return 0
            numbers, queue_ticks, changes, checksums = zip(*updates, strict=True)
            following = range(self.number + 1, self.number + 1 + len(updates))
            if numbers != tuple(following) or set(map(type, changes)) != _LISTS:
                return 0
            merged = merge(changes)
            ticks = sum(queue_ticks)
            total = self._sum.after(merged, ticks, 0)
            if total & CHECKSUM_MASK != checksums[-1]:
                return 0
        except (ValueError, TypeError, IndexError, OverflowError, MemoryError):
            return 0  # the last two: text or bytes in the place of a number, times a key
        self._sum.accept(total)
        self.number += len(updates)
        self.counters.updates += len(updates)
        self._sink.apply(merged, ticks, 0)
        return len(updates)

    def _push_next(self, array: bytes) -> int:
        """The usual case in short: the update that is next, and right; 0 for all others.

        Whatever is unusual is left to the long way, which looks at it field by field.
        """
        try:
            update = msgpack.unpackb(array)
            number = update[0]
            if 0 < number <= self.number:
                self.counters.duplicates += 1
                return int(number)
        except (ValueError, TypeError, IndexError, KeyError):
            return 0
        return self.number if self._use_usual(update) else 0

    def _use_usual(self, update: list[Any]) -> bool:
        """Apply an update if it is of the usual form, the next one, and right."""
        try:
            number, queue_ticks, changes, checksum = update
            if number != self.number + 1 or type(changes) is not list:
                return False
            total = self._sum.after(changes, queue_ticks, 0)
            if total & CHECKSUM_MASK != checksum:
                return False
        except (ValueError, TypeError, IndexError, OverflowError, MemoryError):
            return False  # the last two: text or bytes in the place of a number, times a key
        self._sum.accept(total)
        self.number += 1  # `number` may be the same as another type
        self.counters.updates += 1
        self._sink.apply(changes, queue_ticks, 0)
        return True

    def take(self, message: FeedMessage) -> None:
        """A decoded message.

        Raises:
            FrameInvalid: It does not fit the schema; nothing was changed.
        """
        if isinstance(message, Heartbeat):
            self.is_stale = message.is_stale
            self._check_position(message)
            return
        number = message.number
        if number == self.number + 1 and self.need is not Need.SNAPSHOT:
            if self._use(message) and self.need is Need.MISSING:
                self._use_ahead()
        elif number <= self.number:
            self.counters.duplicates += 1
        else:
            self._keep(number, message)

    def restore(
        self, snapshot: Snapshot, schema: Value = None, tracked: list[int] | None = None
    ) -> None:
        """A snapshot; what was kept aside is applied behind it.

        Args:
            snapshot: All that is known of the clock.
            schema: Its schema, as of `schema_value`, if that is another one than was known.
            tracked: With `schema`: the indexes of the states in the view; None for all.

        Raises:
            FrameInvalid: It does not fit the schema, or its checksum is wrong.
            SchemaMismatch: The schema lacks states of the present one.
        """
        if schema is not None and snapshot.number >= self.number:
            self._adopt(schema, tracked)
        if len(snapshot.ticks) != self._count:
            raise FrameInvalid(f"snapshot: {len(snapshot.ticks)} ticks for {self._count} states")
        if snapshot.number < self.number + (self.need is not Need.SNAPSHOT):
            # Taken before what is applied here: going back would apply that a second time.
            self.counters.duplicates += 1
            return
        fresh = self._sum.reset(snapshot.ticks, snapshot.queue_tick, snapshot.machine_tick)
        if fresh != snapshot.checksum:
            self.need = Need.SNAPSHOT
            raise FrameInvalid("snapshot: its checksum is wrong")
        held: list[PayloadFrame] = []
        if self.number >= 0:
            held = self._take_held(snapshot.number)
            lost = snapshot.payloads - self._payloads - len(held)
            self.counters.payloads_lost += max(0, lost)
        self._payloads = snapshot.payloads
        self.number = snapshot.number
        self.counters.snapshots += 1
        self.need = Need.NOTHING
        self._sink.restore(snapshot)
        for payload in held:  # behind the changes that they follow, which it holds
            self.counters.payloads += 1
            self._sink.deliver(payload)
        self._settle()

    def start_over(self) -> None:
        """The source began a new epoch: numbers and payload counts start anew.

        What is kept aside belongs to the old epoch and is dropped with it.
        """
        self.number = -1
        self._payloads = 0
        self._known_head = -1
        self._ahead.clear()
        self.need = Need.SNAPSHOT

    def behind(self, head: int) -> None:
        """The source is known to be at `head`, and what leads there did not come."""
        if self.need is not Need.SNAPSHOT and head > self.number:
            self._open_gap(head)

    def _check_position(self, heartbeat: Heartbeat) -> None:
        if self.need is Need.SNAPSHOT or heartbeat.number < self.number:
            return
        if heartbeat.number > self.number:
            self._open_gap(heartbeat.number)
        elif heartbeat.checksum != self._sum.value:
            self.counters.mismatches += 1
            self.need = Need.SNAPSHOT

    def _check_indexes(self, update: Update) -> None:
        for index in (*update.changes[::2], *update.called):
            if not 0 <= index < self._count:
                raise FrameInvalid(f"update: state index {index} of {self._count} states")

    def _adopt(self, schema: Value, tracked: list[int] | None) -> None:
        now = self._sink.adopt(schema, tracked)
        self._count = len(now.names)
        self._sum = ClockSum(now.names)
        self._sum.reset(now.ticks, now.queue_tick, now.machine_tick)

    def _use(self, message: Numbered) -> bool:
        """Apply the next message; False when its checksum shows that we had drifted."""
        if isinstance(message, SchemaFrame):
            self._adopt(message.schema, message.tracked)
            self.number = message.number
            return True
        if isinstance(message, PayloadFrame):
            self.number = message.number
            self._payloads = message.ordinal
            self.counters.payloads += 1
            self._sink.deliver(message)
            return True
        self._check_indexes(message)
        changes = message.changes
        total = self._sum.after(changes, message.queue_ticks, message.machine_ticks)
        if total & CHECKSUM_MASK != message.checksum:
            self.counters.mismatches += 1
            self.need = Need.SNAPSHOT
            return False
        self._sum.accept(total)
        self.number = message.number
        self.counters.updates += 1
        cause = message if message.kind >= 0 else None
        self._sink.apply(changes, message.queue_ticks, message.machine_ticks, cause)
        return True

    def _keep(self, number: int, message: Numbered) -> None:
        if len(self._ahead) >= AHEAD_LIMIT:
            self.counters.overflows += 1
        else:
            self._ahead[number] = message
        self._open_gap(number)

    def _open_gap(self, head: int) -> None:
        self._known_head = max(self._known_head, head)
        if self.need is Need.NOTHING:
            self.counters.gaps += 1
            self.need = Need.MISSING

    def _use_ahead(self) -> None:
        """Apply what was kept aside and is next now; is the hole filled?"""
        while (message := self._ahead.pop(self.number + 1, None)) is not None:
            if not self._use(message):
                return
        if self.number >= self._known_head:
            self.need = Need.NOTHING

    def _take_held(self, number: int) -> list[PayloadFrame]:
        """The payloads kept aside up to `number`: a snapshot does not hold them."""
        held = sorted(at for at in self._ahead if at <= number)
        return [m for at in held if isinstance(m := self._ahead.pop(at), PayloadFrame)]

    def _settle(self) -> None:
        """After a snapshot: forget what it contains, go on with what comes behind it."""
        for number in [number for number in self._ahead if number <= self.number]:
            del self._ahead[number]
            self.counters.duplicates += 1
        if self.need is Need.MISSING:
            self._use_ahead()
        elif self.number < self._known_head:
            self.need = Need.MISSING
            self._use_ahead()
            self.counters.gaps += self.need is Need.MISSING
