"""Faults for the memory network: what a frame's way may do to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Fault = Callable[[bytes], Sequence[float]]
"""Says when a frame arrives, in seconds from now: () is never, (0.0, 0.0) is twice."""


@dataclass(slots=True)
class FaultCounts:
    """What a network did to frames so far.

    Attributes:
        dropped: Frames that never arrived by a fault's will.
        repeated: Arrivals beyond a frame's first.
        delayed: Arrivals later than at once, and so perhaps out of order.
        cut: Frames lost because their connection ended on the way.
    """

    dropped: int = 0
    repeated: int = 0
    delayed: int = 0
    cut: int = 0

    def note(self, delays: Sequence[float]) -> None:
        """Counts one frame's fate."""
        self.dropped += not delays
        self.repeated += max(0, len(delays) - 1)
        self.delayed += sum(1 for delay in delays if delay > 0.0)


class RandomFaults:
    """Drops, repeats and delays at random, the same way again for the same seed.

    Args:
        seed: Where the randomness starts.
        drop: The share of frames that are lost, 0.0 to 1.0.
        repeat: The share of the remaining frames that arrive twice.
        delay: The share of arrivals that are late, so that others overtake them.
        max_delay: The longest delay, in seconds.
    """

    __slots__ = ("_delay", "_drop", "_max_delay", "_random", "_repeat")

    def __init__(
        self,
        seed: int,
        drop: float = 0.0,
        repeat: float = 0.0,
        delay: float = 0.0,
        max_delay: float = 0.01,
    ) -> None:
        self._random = random.Random(seed)  # nosec B311  # faults of a test
        self._drop = drop
        self._repeat = repeat
        self._delay = delay
        self._max_delay = max_delay

    def __call__(self, frame: bytes) -> Sequence[float]:
        """Decides about one frame."""
        if self._random.random() < self._drop:
            return ()
        copies = 2 if self._random.random() < self._repeat else 1
        return tuple(self._when() for _ in range(copies))

    def _when(self) -> float:
        if self._random.random() < self._delay:
            return self._random.uniform(0.0, self._max_delay)
        return 0.0
