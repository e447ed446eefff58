"""When to try again: one policy for connections and calls (spec rpc 6)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays that double up to a cap, each shortened at random so that a crowd spreads out.

    Attributes:
        retries: How many tries follow the first.
        delay: Seconds before the first retry.
        backoff: Cap in seconds of the doubling delay; 0 keeps the delay as it is.
        timeout: Seconds after which no further try begins; 0 for no such limit.
        jitter: The part of each delay that is random, 0 to 1.
    """

    retries: int = 15
    delay: float = 0.1
    backoff: float = 3.0
    timeout: float = 60.0
    jitter: float = 0.2

    def delays(self, rng: random.Random) -> Iterator[float]:
        """The delay in seconds before each retry."""
        delay = self.delay
        for _ in range(self.retries):
            yield delay * (1.0 - self.jitter * rng.random())
            if self.backoff > 0:
                delay = min(2 * delay, self.backoff)
