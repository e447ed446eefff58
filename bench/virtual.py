"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, always alike."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")

LONGEST_S = 3_000.0
"""Virtual time after which a run counts as hung."""


class Stuck(Exception):
    """Nothing will ever happen again, or it takes for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that never sleeps: where it would, its clock is put forward instead."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_NeverWaits(self))

    def time(self) -> float:
        return self.now


class _NeverWaits(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return []  # nothing in a simulation comes from outside of its loop
        if timeout is None:
            raise Stuck("everybody waits, and no timer is set")
        self._loop.now += timeout
        if self._loop.now > LONGEST_S:
            raise Stuck(f"not over after {LONGEST_S:.0f} virtual seconds")
        return []


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@contextlib.contextmanager
def determined(seed: int) -> Iterator[None]:
    """Everything random inside comes from the seed: retries, jitter, ids, tokens."""
    master = random.Random(seed)

    class Seeded(_Random):
        def __init__(self, x: Any = None) -> None:
            super().__init__(master.getrandbits(64) if x is None else x)

    kept = random.Random, secrets.token_bytes, secrets.token_hex
    random.Random = Seeded  # type: ignore[misc]
    secrets.token_bytes = lambda nbytes=None: master.randbytes(nbytes or 32)
    secrets.token_hex = lambda nbytes=None: master.randbytes(nbytes or 32).hex()
    try:
        yield
    finally:
        random.Random, secrets.token_bytes, secrets.token_hex = kept  # type: ignore[misc]


_Random = random.Random
