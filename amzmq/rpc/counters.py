"""What a Mux counts; the names are those of `Mux.metrics()`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class MuxCounters:
    """What happened so far; only ever grows.

    Attributes:
        hellos: Conversations begun.
        refused: Conversations refused.
        requests: Mutations received.
        syncs: Questions for what was missed.
        garbage: Frames that are no message, on either socket.
        oversized: Frames above the limit.
        undelivered: Messages whose client was gone or full.
        expired: Clients given up after their silence.
    """

    hellos: int = 0
    refused: int = 0
    requests: int = 0
    syncs: int = 0
    garbage: int = 0
    oversized: int = 0
    undelivered: int = 0
    expired: int = 0
