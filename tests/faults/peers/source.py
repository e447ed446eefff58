"""What the sources of all peers have in common: load, history, commands."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from tests.faults.programs.shared import Diary
from tests.faults.programs.source import LOAD_S
from tests.oracles.history import FULL, Began, Changed, Clock, Said, SourceAtRest

DATA = "data"
"""Life, epoch and stream at once: peers know of no such thing, there is only the data."""

KEYS = ("A", "B", "C")
LIFE = "life"
"""The key by which a source says which one it is, so that the lab can tell old from new."""


def clock_of(state: Mapping[str, int]) -> Clock:
    """A state as the oracles know it."""
    return Clock.of(state, state.values(), 0, 0)


class Source(ABC):
    """Owns the state; one key changes at a time.

    Args:
        options: `diary`, `life`, and what the system needs.

    Attributes:
        state: What it has said last.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.diary = Diary(options["diary"])
        self.state: dict[str, int] = {}
        self._serial = 0
        self._said = asyncio.Lock()
        self._is_enough = False
        self._loading: asyncio.Task[None] | None = None

    @abstractmethod
    async def open(self) -> dict[str, str]:
        """Get ready, with the state there is already, if any; where followers connect to."""

    @abstractmethod
    async def change(self, key: str, tick: int) -> None:
        """Tell everybody of a change, and keep it for those to come."""

    @abstractmethod
    async def event(self, token: str, data: bytes) -> None:
        """Tell everybody of something that happened."""

    @abstractmethod
    async def close(self) -> None:
        """End it."""

    async def start(self) -> dict[str, str]:
        """Open it, and say which one it is."""
        where = await self.open()
        self.diary.note(Began(DATA, DATA))
        # What a killed source was about to write may have come through, or not.
        self.diary.note(Changed(DATA, clock_of(self.state)))
        await self._step(LIFE, int(self.options["life"].removeprefix("life")))
        return where

    async def _step(self, key: str, tick: int) -> None:
        async with self._said:  # what is written down in order has to be said in order
            self.state[key] = tick
            self.diary.note(Changed(DATA, clock_of(self.state)))
            await self.change(key, tick)

    async def _happen(self, data: bytes) -> None:
        async with self._said:
            self._serial += 1
            token = f"{self.options['life']}-{self._serial}"
            self.diary.note(Said(self.options["life"], self._serial, token))
            await self.event(token, data)

    def start_load(self) -> bool:
        self._is_enough = False
        self._loading = asyncio.create_task(self._load(), name="load")
        return True

    async def _load(self) -> None:
        at = 0
        while not self._is_enough:
            at += 1
            key = KEYS[at % len(KEYS)]
            await self._step(key, self.state.get(key, 0) + 1)
            if at % 3 == 0:
                await self._happen(b"")
            await asyncio.sleep(LOAD_S)

    async def stop_load(self) -> bool:
        """Let the change that is under way end first."""
        self._is_enough = True
        if self._loading is not None:
            await self._loading
            self._loading = None
        return True

    async def burst(self, count: int, size: int) -> bool:
        """Many events at once."""
        for at in range(count):
            await self._happen(b"x" * size)
            if at % 100 == 0:
                await asyncio.sleep(0)
        return True

    def block(self, seconds: float) -> bool:
        """Keep the event loop from running."""
        time.sleep(seconds)
        return True

    def status(self) -> dict[str, Any]:
        return {"state": self.state, "event": [self.options["life"], self._serial], "metrics": {}}

    def rest(self) -> bool:
        self.diary.note(SourceAtRest(DATA, DATA, FULL.of(clock_of(self.state))))
        return True

    async def stop(self) -> None:
        """End it."""
        await self.stop_load()
        await self.close()
        self.diary.close()
