"""Alters what a source says of its machine, as a fault on the way would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from amzmq.rpc import Mux
from amzmq.wire.feed import STREAM_ID_SIZE, Update, parse_body

PATIENT = 1000.0
"""A heartbeat in seconds that does not come during a test: nothing is healed by it."""


class Tampering:
    """Alters the next updates that a Mux publishes in each stream; its journals are right.

    Args:
        mux: It serves.
        alter: Makes another update of each, with the checksum as it was.
        times: How many of each stream are altered.
    """

    def __init__(self, mux: Mux, alter: Callable[[Update], Update], times: int = 1) -> None:
        self._times = times
        self._altered: Counter[bytes] = Counter()
        self._alter = alter
        (self._feed,) = mux._sources.feeds
        self._send = self._feed._send
        self._feed._send = self._pass_on

    def _pass_on(self, frames: Sequence[bytes]) -> None:
        self._send([self._altered_frame(frame) for frame in frames])

    def _altered_frame(self, frame: bytes) -> bytes:
        message = parse_body(frame[STREAM_ID_SIZE:])
        stream = frame[:STREAM_ID_SIZE]
        if not isinstance(message, Update) or self._altered[stream] >= self._times:
            return frame
        self._altered[stream] += 1
        return stream + self._alter(message).body()


def wrong_checksum(update: Update) -> Update:
    """The content is right, its checksum is not."""
    return update._replace(checksum=update.checksum ^ 1)
