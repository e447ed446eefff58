"""How often something may be done: a bound for the source, patience for its followers."""

from __future__ import annotations

import random
from collections.abc import Callable


class TokenBucket:
    """Allows so many a second, and some more after a quiet time.

    Args:
        rate: How many a second.
        burst: How many at once, at most.
        clock: The time in seconds.

    Attributes:
        refused: How often it was not, since so many could be done at once.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self.refused = 0
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._filled_at = clock()

    def take(self) -> bool:
        """Whether it may be done now; it counts as done then."""
        now = self._clock()
        gained = (now - self._filled_at) * self._rate
        self._tokens = min(self._burst, self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            self.refused += 1
            return False
        if self._tokens == self._burst:
            self.refused = 0
        self._tokens -= 1
        return True

    @property
    def wait(self) -> float:
        """Seconds until it may be done again."""
        return max(0.0, (1 - self._tokens) / self._rate)


class Jitter:
    """Random waits out of a window that grows while they are needed again and again.

    Args:
        first: Seconds of the window at first, and after a calm time.
        limit: Seconds that it grows to; it doubles.
        calm: Seconds without any need after which it begins anew.
        rng: Where the waits come from.
    """

    def __init__(self, first: float, limit: float, calm: float, rng: random.Random) -> None:
        self.window = first
        self._first = first
        self._limit = limit
        self._calm = calm
        self._rng = rng
        self._needed_at: float | None = None

    def next(self, now: float) -> float:
        """Seconds to wait; `now` is the time at which that is needed."""
        if self._needed_at is not None:
            is_calm = now - self._needed_at > self._calm
            self.window = self._first if is_calm else min(2 * self.window, self._limit)
        self._needed_at = now
        return self._rng.uniform(0, self.window)
