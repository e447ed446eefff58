"""Faults of a simulated network: what TCP and ZeroMQ may do to frames, and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from amzmq.wire.control import Mutate
from amzmq.wire.control_frames import from_frame


class Feed:
    """The feed loses, repeats and reorders.

    Args:
        rng: Decides.
        drop, repeat, delay: Shares of the frames.
        longest: Of the delays, in seconds.
    """

    def __init__(
        self, rng: random.Random, drop: float, repeat: float, delay: float, longest: float
    ) -> None:
        self._rng = rng
        self._drop = drop
        self._repeat = repeat
        self._delay = delay
        self._longest = longest

    def __call__(self, frame: bytes) -> Sequence[float]:
        if self._rng.random() < self._drop:
            return ()
        copies = 2 if self._rng.random() < self._repeat else 1
        return tuple(
            self._rng.uniform(0.0, self._longest) if self._rng.random() < self._delay else 0.0
            for _ in range(copies)
        )


class Talk:
    """Conversations are late, in order, and lose what their other end has no room for.

    What wants no reply is never lost alone: it goes with its connection, as over TCP.

    Args:
        rng: Decides.
        drop: Share of the messages.
        longest: Of the delays, in seconds.
    """

    def __init__(self, rng: random.Random, drop: float, longest: float) -> None:
        self._rng = rng
        self._drop = drop
        self._longest = longest
        self._last = 0.0

    def __call__(self, frame: bytes) -> Sequence[float]:
        if self._rng.random() < self._drop and not self._is_notice(frame):
            return ()
        now = asyncio.get_running_loop().time()
        due = now + self._rng.uniform(0.0, self._longest)
        # In order: timers of the same moment would not be.
        self._last = max(self._last + 1e-6, due)
        return (self._last - now,)

    def end(self) -> None:
        """From now on nothing is late, but nothing overtakes what still is."""
        self._drop = self._longest = 0.0

    @staticmethod
    def _is_notice(frame: bytes) -> bool:
        message = from_frame(frame)
        return isinstance(message, Mutate) and message.request == 0
