"""From a machine's clock to its streams: what changed, once a loop turn (design decision 5).

One update's way begins here: the observer collects which ticks changed, the flush turns them
into one frame a stream, and the frames go to the publisher, whatever the number of followers.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from amzmq.errors import LimitExceeded
from amzmq.machine import ClockObserver, ClockReading, Machine
from amzmq.machine.compiled import CompiledSchema
from amzmq.machine.observer import ClockTicks
from amzmq.rpc.payload import Payload
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.limits import Guard, Limits
from amzmq.rpc.server.persist import Keeper
from amzmq.rpc.server.recorder import Record, Recorder
from amzmq.wire.codec import Value
from amzmq.wire.feed import STREAM_ID_SIZE
from amzmq.wire.journal import JournalLimits
from amzmq.wire.view import EVERYTHING, View
from amzmq.wire.writer import StreamWriter

STREAM_LIMIT = 256
"""Different views of one machine; each costs a diff a flush, and a journal."""


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """How a Mux publishes its machines.

    Attributes:
        send: Publishes frames.
        limits: Of each stream's journal.
        frame_limit: Bytes of the largest frame that may be sent.
        interval: Seconds between flushes at least; 0 flushes each turn of the loop.
        keeper: Keeps the clocks of local machines in a file; None for nobody.
        guard: Knows how many views a user may follow.
    """

    send: Callable[[Sequence[bytes]], None]
    limits: JournalLimits
    frame_limit: int
    interval: float = 0.0
    keeper: Keeper | None = None
    guard: Guard = field(default_factory=lambda: Guard(Limits()))


class Feed:
    """Publishes one machine: a stream for each view that somebody follows.

    Args:
        source: The machine.
        epoch: 8 bytes of this incarnation of the source.
        options: How it is published.

    Attributes:
        full: The stream of everything; it always exists.
        flushes: How often changes were read.
    """

    def __init__(
        self,
        source: Machine | NetworkMachine,
        epoch: bytes,
        options: FeedOptions,
    ) -> None:
        self.source = source
        self.epoch = epoch
        self.flushes = 0
        self._options = options
        self._send = options.send
        self._interval = options.interval
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._held = False
        self._due: asyncio.Handle | None = None  # one flush a turn, or an interval, is enough
        self._flushed_at = 0.0
        self._observer = ClockObserver(self._wake)
        start = source.observe_clock(self._observer)
        self._keeper = options.keeper if isinstance(source, Machine) else None
        if self._keeper is not None:
            self._keeper.adopt(source.id, start)
        self._schema = start.schema
        self._machine_tick = start.machine_tick
        self._recorder: Recorder | None = None
        self._streams: dict[View, StreamWriter] = {}
        self._users: dict[View, Counter[str]] = {}  # of each view, and how often
        self._views: Counter[str] = Counter()  # of each user, besides everything
        self._written: tuple[StreamWriter, ...] = ()
        self._merged: tuple[StreamWriter, ...] = ()
        self._each: tuple[StreamWriter, ...] = ()
        self.full = self._open_full(start)

    @property
    def blocked(self) -> str:
        """Why no mutation may be run now; "" if all is well."""
        return "" if self._keeper is None else self._keeper.blocked

    @property
    def is_stale(self) -> bool:
        """Whether it publishes a replica whose source is away."""
        return isinstance(self.source, NetworkMachine) and self.source.is_stale

    # Streams.

    @property
    def streams(self) -> Iterable[StreamWriter]:
        """All streams of the machine."""
        return self._streams.values()

    def has_room(self, view: View, user: str = "") -> bool:
        """Whether a user may join a view; see `join`."""
        return not self._is_full(view) and not self._has_many(view, user)

    def _is_full(self, view: View) -> bool:
        return view not in self._streams and len(self._streams) >= STREAM_LIMIT

    def _has_many(self, view: View, user: str) -> bool:
        if not user or view == EVERYTHING or user in self._users.get(view, ()):
            return False
        return self._views[user] >= self._options.guard.limits.views

    def join(self, view: View, user: str = "") -> StreamWriter:
        """The stream of a view, which will be told of the machine until as many `leave` it.

        Args:
            view: What of the machine is to be told.
            user: Who follows it; "" for who proves no key.

        Raises:
            SchemaMismatch: The view names states that the machine does not have.
            LimitExceeded: The machine has `STREAM_LIMIT` different views already, or the user
                follows too many of them.
        """
        if self._has_many(view, user):
            text = f"{user} follows {self._views[user]} different views of {self.source.id}"
            raise self._options.guard.exceeded("views", text, "leave one, or follow everything")
        if self._is_full(view):
            self._options.guard.count("views")
            raise LimitExceeded(
                f"{STREAM_LIMIT} different views of {self.source.id} are followed already; "
                "ask for one of them, or for everything"
            )
        stream = self._streams.get(view)
        if stream is None:
            self.flush()
            stream = self._open(view)
            now = self.full.snapshot()
            stream.begin(enumerate(now.ticks), now.queue_tick, now.machine_tick)
        users = self._users.setdefault(view, Counter())
        if user not in users and view != EVERYTHING:
            self._views[user] += 1
        users[user] += 1
        return stream

    def leave(self, stream: StreamWriter, user: str = "") -> None:
        """Undo a `join`; the last one ends the stream, unless it is that of everything."""
        view = stream.view
        if self._streams.get(view) is not stream:
            return  # the feed was closed before
        users = self._users[view]
        users[user] -= 1
        if users[user]:
            return
        del users[user]
        if view == EVERYTHING:
            return
        self._views[user] -= 1
        if not self._views[user]:
            del self._views[user]
        if not users:
            del self._users[view], self._streams[view]
            stream.end()
            self._sort()

    def _open_full(self, start: ClockReading) -> StreamWriter:
        stream = self._open(EVERYTHING)
        stream.begin(start.ticks, start.queue_tick, start.machine_tick)
        return stream

    def _open(self, view: View) -> StreamWriter:
        stream = StreamWriter(
            secrets.token_bytes(STREAM_ID_SIZE),
            self.epoch,
            self._schema,
            view,
            self._options.limits,
            self._options.frame_limit,
        )
        self._add(stream)
        return stream

    def _add(self, stream: StreamWriter) -> None:
        self._streams[stream.view] = stream
        self._sort()

    def _sort(self) -> None:
        streams = tuple(it for it in self._streams.values() if not it.is_continued)
        self._written = streams
        self._merged = tuple(stream for stream in streams if not stream.view.mutations)
        self._each = tuple(stream for stream in streams if stream.view.mutations)
        if self._each and self._recorder is None:
            self._recorder = Recorder(self._wake)
            self.source.bind_tracer(self._recorder)
        elif not self._each and self._recorder is not None:
            self.source.detach_tracer(self._recorder.id)
            self._recorder = None

    def close(self) -> None:
        """Say what is still unsaid, and stop observing the machine."""
        self.flush()
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._recorder is not None:
            self.source.detach_tracer(self._recorder.id)
            self._recorder = None
        self.source.unobserve_clock(self._observer)
        for stream in self._streams.values():
            stream.end()
        self._streams.clear()
        self._users.clear()
        self._views.clear()

    # When to flush.

    def hold(self) -> None:
        """A flush will be made at the end of this turn: none needs to be scheduled."""
        self._held = True

    def _wake(self) -> None:
        """Something changed, for the first time since the last flush; on any thread."""
        if threading.get_ident() == self._thread:
            self._schedule()
        else:
            with contextlib.suppress(RuntimeError):  # which says that the loop is closed
                self._loop.call_soon_threadsafe(self._schedule)

    def _schedule(self) -> None:
        if self._held or self._due is not None:
            return
        wait = 0.0
        if self._interval:
            wait = self._flushed_at + self._interval - self._loop.time()
        if wait > 0:
            self._due = self._loop.call_later(wait, self._flush_due)
        else:
            self._due = self._loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._due = None
        self.flush()

    # What a flush says.

    def flush(self) -> None:
        """Publish what changed since the last flush, as one update a stream."""
        self._held = False
        frames = self._frames()
        if frames:
            self._send(frames)

    def take(self) -> Sequence[bytes]:
        """What a flush would publish now; the caller publishes it, behind the replies."""
        self._held = False
        return self._frames()

    def publish(self, frames: Sequence[bytes]) -> None:
        """Publish what `take` gave."""
        if frames:
            self._send(frames)

    def _frames(self) -> Sequence[bytes]:
        recorder = self._recorder
        if recorder is not None:
            return self._recorded_frames(recorder)
        if not self._observer.pending:
            return ()
        ticks, queue_tick, machine_tick, schema = self._read_changes()
        return self._merged_frames(ticks, queue_tick, machine_tick, schema)

    def _read_changes(self) -> tuple[ClockTicks, int, int, CompiledSchema]:
        changes = self.source.read_changes(self._observer)
        if self._keeper is not None:
            self._keeper.stage(self.source.id, ClockReading(*changes))
        return changes

    def _merged_frames(
        self, ticks: ClockTicks, queue_tick: int, machine_tick: int, schema: CompiledSchema
    ) -> list[bytes]:
        """What the views are told that want one update for all changes of a turn."""
        self.flushes += 1
        if self._interval:
            self._flushed_at = self._loop.time()
        frames = [] if schema is self._schema else self._change_schema(schema)
        for stream in self._merged:
            frame = stream.update(ticks, queue_tick, machine_tick)
            if frame is not None:
                frames.append(frame)
        return frames

    def _recorded_frames(self, recorder: Recorder) -> list[bytes]:
        """The records first: they are never ahead of what is read behind them."""
        records, given_up = recorder.take()
        frames: list[bytes] = []
        for record in records if not given_up else ():
            frames += self._frames_of(record)
        if not self._observer.pending and not given_up:
            return frames
        ticks, queue_tick, machine_tick, schema = self._read_changes()
        frames += self._merged_frames(ticks, queue_tick, machine_tick, schema)
        if given_up or machine_tick != self._machine_tick:
            # An import is no mutation, and mutations given up are told as one change.
            self._machine_tick = machine_tick
            now = tuple(enumerate(self.full.snapshot().ticks))
            for stream in self._each:
                frame = stream.update(now, queue_tick, machine_tick)
                if frame is not None:
                    frames.append(frame)
        return frames

    def _frames_of(self, record: Record) -> list[bytes]:
        if record.machine_tick < self._machine_tick:
            return []  # made before an import that has been told already
        frames = [] if record.schema is self._schema else self._change_schema(record.schema)
        ticks = tuple(enumerate(record.ticks))
        for stream in self._each:
            frame = stream.update(ticks, record.queue_tick, record.machine_tick, record.cause)
            if frame is not None:
                frames.append(frame)
        return frames

    def _change_schema(self, schema: CompiledSchema) -> list[bytes]:
        self._schema = schema
        return [stream.change_schema(schema) for stream in self._written]

    def send_payload(
        self,
        name: str,
        data: Value,
        token: bytes,
        source_tx: str,
        blob: list[Value] | None = None,
        source: str = "",
    ) -> None:
        """Publish a payload, behind all changes that were made before it.

        Raises:
            InvalidArgs: `data` has no form on the wire.
            FrameTooLarge: It is larger than a frame may be.
        """
        self.flush()
        self._send(
            [
                stream.payload(name, data, token, source_tx, blob, source)
                for stream in self._written
                if stream.view.payloads
            ]
        )

    def pass_payload(self, payload: Payload, blob: list[Value] | None = None) -> None:
        """Publish a payload that the source of a replica sent, or a blob's offer, as its own."""
        self.send_payload(
            payload.name, payload.data, payload.token, payload.source_tx, blob, payload.source
        )

    def beat(self) -> None:
        """Publish where the streams are."""
        self.flush()
        is_stale = self.is_stale
        self._send([stream.heartbeat(is_stale) for stream in self._streams.values()])
