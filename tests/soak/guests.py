"""The soak's guests: clients and subscribers that come and go, and takers of blobs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from typing import Any, cast

from amzmq.errors import AmzmqError
from amzmq.rpc import Client, Subscriber
from tests.faults.programs import shared
from tests.faults.programs.followers import VIEWS, Followers
from tests.oracles.history import FULL
from tests.oracles.recorder import FollowerRecorder
from tests.rpc.programs.pipe import config, obey, say
from tests.soak.subscriber import MACHINE, OneMachine

MOST = 6
"""Guests at a time."""

TAKING_S = 4.0
"""Behind the faults, until a blob has to be here. One is never announced to its taker if the Mux
ended in between: offers end with it."""

PATIENCE: dict[str, Any] = {
    "conn_timeout": 1.0,
    "conn_retries": 100_000,
    "conn_retry_delay": 0.02,
    "conn_retry_backoff": 0.2,
    "conn_retry_timeout": 0,
    "call_timeout": 1.0,
}


class Guests(Followers):
    """Followers that do not stay.

    Args:
        options: Those of `Followers`, `seed`, `prefix` of all names, `stay_s`: seconds between
            two of them coming or going.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.takers: dict[str, asyncio.Task[str]] = {}
        self.joined = 0
        self._random = random.Random(options["seed"])
        self._enough = asyncio.Event()
        self._churning: asyncio.Task[None] | None = None

    # Coming and going.

    def start_churn(self) -> bool:
        self._enough.clear()
        self._churning = asyncio.create_task(self._churn(), name="churn")
        return True

    async def _churn(self) -> None:
        while not self._enough.is_set():
            here = list(self.clients)
            if not here or (len(here) < MOST and self._random.random() < 0.6):
                self._enter_one()
            else:
                await self.leave(self._random.choice(here))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._random.expovariate(1 / self.options["stay_s"])):
                    await self._enough.wait()

    def _enter_one(self) -> None:
        self.joined += 1
        name = f"f{self.options['prefix']}g{self.joined}"
        if self._random.random() < 0.3:
            self.subscribe(name)
        else:
            self.enter(name, self._random.choice(sorted(VIEWS)))

    def subscribe(self, name: str) -> None:
        """One more subscriber."""
        recorder = FollowerRecorder(self.diary.note, name, FULL)
        transport = recorder.tapped(shared.transport(self.options, "client"))
        subscriber = Subscriber(
            self.options["addr"], [MACHINE], name, transport=transport, **PATIENCE
        )
        client = cast(Client, OneMachine(subscriber))
        recorder.watch(client)
        self.clients[name] = client, recorder
        self.sights[name] = FULL
        client.start()

    async def stop_churn(self) -> int:
        """Nobody comes or goes any more; how many have come so far."""
        self._enough.set()
        if self._churning is not None:
            await self._churning
            self._churning = None
        return self.joined

    async def empty(self) -> bool:
        """All go."""
        for name in list(self.clients):
            await self.leave(name)
        return True

    # Blobs.

    def take_blob(self, name: str) -> bool:
        """A client that comes for one blob."""
        self.takers[name] = asyncio.create_task(self._take(name), name=f"blob for {name}")
        return True

    async def _take(self, name: str) -> str:
        """The digest of what came, or the name of the error."""
        transport = shared.transport(self.options, "client")
        client = Client(self.options["addr"], name, transport=transport, **PATIENCE)
        blobs = client.blobs("blob")  # before the source can see it
        try:
            async with client:
                blob = await anext(blobs)
                return hashlib.sha256(await blob.read()).hexdigest()
        except AmzmqError as error:
            return type(error).__name__

    async def blob_of(self, name: str) -> str:
        """How it ended; "killed" if that was before these guests came."""
        if (taker := self.takers.pop(name, None)) is None:
            return "killed"
        try:
            async with asyncio.timeout(TAKING_S):
                return await taker
        except TimeoutError:
            return "TimeoutError"

    async def dismiss(self, name: str) -> bool:
        """Nothing was offered to it."""
        if (taker := self.takers.pop(name, None)) is not None:
            taker.cancel()
            await asyncio.wait([taker])
        return True


async def main() -> None:
    fds = shared.descriptors()
    guests = Guests(config())
    say({"ready": True})
    names = (
        "start_churn", "stop_churn", "empty", "take_blob", "blob_of", "dismiss", "start_calls",
        "stop_calls", "status", "rest", "turn",
    )  # fmt: skip
    await obey({name: getattr(guests, name) for name in names})
    await guests.stop_calls()
    await guests.stop_churn()
    await guests.empty()
    for name in list(guests.takers):
        await guests.dismiss(name)
    guests.diary.close()
    say(await shared.leftovers(fds))


if __name__ == "__main__":
    asyncio.run(main())
