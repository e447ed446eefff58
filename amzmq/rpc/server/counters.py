"""What a Mux counts, and how it speaks of what it counts."""

from __future__ import annotations

import logging
from dataclasses import dataclass


@dataclass(slots=True)
class MuxCounters:
    """What happened so far; only ever grows. The names are those of `Mux.metrics()`.

    Attributes:
        hellos: Conversations begun.
        refused: Conversations refused.
        requests: Mutations received.
        syncs: Questions for what was missed.
        garbage: Frames that are no message, on either socket.
        oversized: Frames above the limit.
        undelivered: Messages whose client was gone or full.
        expired: Clients given up after their silence.
        hellos_delayed: Conversations that waited because too many began at once.
        hellos_dropped: Of those that were too many even to wait.
        welcomes_encoded: Answers to Hello that were encoded; the others were the same.
        snapshots_sent: Snapshots for those who missed more than the journal has.
        snapshots_encoded: How often one was encoded for that.
        snapshots_delayed: Of those sent, the ones that waited because they were too many.
        catch_ups_sent, catch_ups_encoded: Likewise, of the journal's answers.
    """

    hellos: int = 0
    refused: int = 0
    requests: int = 0
    syncs: int = 0
    garbage: int = 0
    oversized: int = 0
    undelivered: int = 0
    expired: int = 0
    hellos_delayed: int = 0
    hellos_dropped: int = 0
    welcomes_encoded: int = 0
    snapshots_sent: int = 0
    snapshots_encoded: int = 0
    snapshots_delayed: int = 0
    catch_ups_sent: int = 0
    catch_ups_encoded: int = 0


class FirstOnly:
    """Logs the first of each kind: the others are only counted, by whoever calls.

    Args:
        log: The logger.
        name: Of the component, which begins each line.
    """

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log = log
        self._name = name
        self._kinds: set[str] = set()

    def log(self, kind: str, text: str) -> None:
        """Log a text, unless there was one of its kind."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._log.warning("[%s] %s (further ones are only counted)", self._name, text)
