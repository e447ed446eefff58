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

    Attributes:
        stream: What has been said, and is sent to all.
    """

    def __init__(
        self, source: Machine, send: Callable[[bytes], None], limits: JournalLimits
    ) -> None:
        self.source = source
        self.stream = StreamWriter(secrets.token_bytes(STREAM_ID_SIZE), source.state_names, limits)
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._observer = ClockObserver(self._wake)
        start = source.observe_clock(self._observer)
        self.stream.begin(start.ticks, start.queue_tick, start.machine_tick)

    def close(self) -> None:
        """Say what is still unsaid, and stop observing the machine."""
        self.flush()
        self.source.unobserve_clock(self._observer)

    def _wake(self) -> None:
        """Something changed, for the first time since the last flush; on any thread."""
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self.flush)
        else:
            self._loop.call_soon_threadsafe(self.flush)

    def flush(self) -> None:
        """Publish what changed since the last flush, as one update."""
        if not self._observer.pending or self.source.is_disposed:
            return
        changed = self.source.read_changes(self._observer)
        frame = self.stream.update(changed.ticks, changed.queue_tick, changed.machine_tick)
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
