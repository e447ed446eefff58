"""From a machine's clock to its stream: what changed, once a loop turn (design decision 5).

One update's way begins here: the observer collects which ticks changed, the flush turns them
into one frame, and the frame goes to the publisher, whatever the number of followers.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable

from amzmq.machine import ClockObserver, Machine
from amzmq.wire.codec import Value
from amzmq.wire.feed import STREAM_ID_SIZE
from amzmq.wire.journal import JournalLimits
from amzmq.wire.writer import StreamWriter


class Feed:
    """Publishes one machine.

    Args:
        source: The machine.
        send: Publishes a frame.
        limits: Of the journal.
        frame_limit: Bytes of the largest frame that may be sent.

    Attributes:
        stream: What has been said, and is sent to all.
    """

    def __init__(
        self,
        source: Machine,
        send: Callable[[bytes], None],
        limits: JournalLimits,
        frame_limit: int,
    ) -> None:
        self.source = source
        self.stream = StreamWriter(
            secrets.token_bytes(STREAM_ID_SIZE), source.state_names, limits, frame_limit
        )
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._held = False
        self._due = False  # whether a flush is scheduled: one a turn is enough
        self._observer = ClockObserver(self._wake)
        start = source.observe_clock(self._observer)
        self.stream.begin(start.ticks, start.queue_tick, start.machine_tick)

    def close(self) -> None:
        """Say what is still unsaid, and stop observing the machine."""
        self.flush()
        self.source.unobserve_clock(self._observer)

    def hold(self) -> None:
        """A flush will be made at the end of this turn: none needs to be scheduled."""
        self._held = True

    def _wake(self) -> None:
        """Something changed, for the first time since the last flush; on any thread."""
        if threading.get_ident() == self._thread:
            if not (self._held or self._due):
                self._due = True
                self._loop.call_soon(self._flush_due)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.flush)

    def _flush_due(self) -> None:
        self._due = False
        self.flush()

    def flush(self) -> None:
        """Publish what changed since the last flush, as one update."""
        self._held = False
        observer = self._observer
        if observer.pending:
            ticks, queue_tick, machine_tick = self.source.read_changes(observer)
            frame = self.stream.update(ticks, queue_tick, machine_tick)
            if frame is not None:
                self._send(frame)

    def flush_behind(self, replies: Callable[[], None]) -> None:
        """Flush, but let `replies` go out before the feed: somebody waits for them."""
        self._held = False
        frame = None
        if self._observer.pending:
            frame = self.stream.update(*self.source.read_changes(self._observer))
        try:
            replies()
        finally:
            if frame is not None:
                self._send(frame)

    def send_payload(self, name: str, data: Value, token: bytes, source_tx: str) -> None:
        """Publish a payload, behind all changes that were made before it.

        Raises:
            InvalidArgs: `data` has no form on the wire.
        """
        self.flush()
        self._send(self.stream.payload(name, data, token, source_tx))

    def beat(self) -> None:
        """Publish where the stream is."""
        self.flush()
        self._send(self.stream.heartbeat())
