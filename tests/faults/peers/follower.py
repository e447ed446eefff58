"""What the followers of all peers have in common: the replica, its history, commands."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from tests.faults.peers.source import DATA, clock_of
from tests.faults.programs.shared import Diary
from tests.oracles.history import FULL, AtRest, Follows, Ready, Saw, Took


class Follower(ABC):
    """A replica; its system tells it what to show.

    Args:
        name: Its own.
        options: `addr`, `feed`, and what the system needs.
        diary: Where its history goes.

    Attributes:
        state: What it shows.
        taken: The newest event of each life of the source.
        ready: Set once it shows something.
    """

    def __init__(self, name: str, options: dict[str, Any], diary: Diary) -> None:
        self.name = name
        self.options = options
        self.state: dict[str, int] = {}
        self.taken: dict[str, int] = {}
        self.ready = asyncio.Event()
        self._diary = diary
        self._number = 0
        diary.note(Follows(name, FULL))

    @abstractmethod
    async def follow(self) -> None:
        """Follow the source until cancelled."""

    def show_all(self, state: Mapping[str, int]) -> None:
        """A snapshot has come."""
        self.state = dict(state)
        self._saw(whole=True)
        if not self.ready.is_set():
            self._diary.note(Ready(self.name, DATA, DATA, self._number))
            self.ready.set()

    def show(self, key: str, tick: int) -> None:
        """A change has come."""
        self.state[key] = tick
        self._saw(whole=False)

    def _saw(self, whole: bool) -> None:
        self._number += 1
        clock = clock_of(self.state)
        self._diary.note(Saw(self.name, DATA, DATA, self._number, clock, whole))

    def take(self, token: str) -> None:
        """An event has come."""
        life, _, serial = token.partition("-")
        self.taken[life] = max(int(serial), self.taken.get(life, 0))
        self._diary.note(Took(self.name, DATA, token, clock_of(self.state)))

    def at_rest(self) -> None:
        """Everything is healed and quiet. Nobody has told it of a loss: that is not foreseen."""
        clock = clock_of(self.state)
        self._diary.note(AtRest(self.name, DATA, DATA, self._number, clock, 0, 0))


async def _ready(follower: Follower, task: asyncio.Task[None]) -> None:
    ready = asyncio.create_task(follower.ready.wait())
    await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        task.result()  # a follower that has ended has failed


class Followers:
    """All followers of one program."""

    def __init__(
        self, make: Callable[[str, dict[str, Any], Diary], Follower], options: dict[str, Any]
    ) -> None:
        self._diary = Diary(options["diary"])
        self._all = [make(name, options, self._diary) for name in options["names"]]
        self._tasks = [asyncio.create_task(one.follow(), name=one.name) for one in self._all]

    async def start(self) -> dict[str, bool]:
        """Wait until all show something."""
        async with asyncio.TaskGroup() as waiting:
            for one, task in zip(self._all, self._tasks, strict=True):
                waiting.create_task(_ready(one, task))
        return {"ready": True}

    def block(self, seconds: float) -> bool:
        time.sleep(seconds)
        return True

    def status(self) -> dict[str, Any]:
        return {
            one.name: {
                "state": one.state,
                "taken": one.taken,
                "metrics": {},
                "ended": task.done() and str(task.exception()),
            }
            for one, task in zip(self._all, self._tasks, strict=True)
        }

    def rest(self) -> bool:
        for one in self._all:
            one.at_rest()
        return True

    async def stop(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._diary.close()
