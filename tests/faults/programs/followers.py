"""The lab's followers: two clients that read, or one that calls without pause."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from amzmq.errors import AmzmqError
from amzmq.rpc import Client
from tests.faults.programs import shared
from tests.oracles.history import Follows, Ready, Sight
from tests.oracles.recorder import FollowerRecorder
from tests.rpc.programs.pipe import config, obey, say

CALL_S = 0.01

VIEWS: dict[str, tuple[dict[str, Any], Sight]] = {
    "full": ({}, Sight()),
    "part": ({"allowed_states": ["A", "Multi"]}, Sight(allowed=frozenset({"A", "Multi"}))),
    "shallow": ({"sync_shallow_clocks": True}, Sight(shallow=True)),
    "each": ({"sync_mutations": True}, Sight()),
}


class Followers:
    """Clients of one source.

    Args:
        options: `names` to views, `addr`, `diary`, `keys`, `sockets`.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.diary = shared.Diary(options["diary"])
        self.clients: dict[str, tuple[Client, FollowerRecorder]] = {}
        self.sights: dict[str, Sight] = {}
        self._working: list[asyncio.Task[None]] = []
        self._serial = 0

    async def join(self, name: str, view: str) -> bool:
        """One more client, which is ready."""
        await self.enter(name, view).ready()
        return True

    def enter(self, name: str, view: str) -> Client:
        """One more client, which connects by and by."""
        keywords, sight = VIEWS[view]
        self.sights[name] = sight
        recorder = FollowerRecorder(self.diary.note, name, sight)
        client = Client(
            self.options["addr"],
            name=name,
            transport=recorder.tapped(shared.transport(self.options, "client")),
            conn_timeout=1.0,
            conn_retries=100_000,
            conn_retry_delay=0.02,
            conn_retry_backoff=0.2,
            conn_retry_timeout=0,
            call_timeout=1.0,
            call_retry_backoff=0.5,
            **keywords,
        )
        recorder.watch(client)
        self.clients[name] = client, recorder
        client.start()
        return client

    async def leave(self, name: str) -> bool:
        """One client less."""
        client, recorder = self.clients.pop(name)
        del self.sights[name]
        await client.stop()
        recorder.gone()
        return True

    async def come_and_go(self, count: int) -> bool:
        """Clients that stay for a moment."""
        for at in range(count):
            await self.join(f"guest{at}", ("full", "part", "shallow", "each")[at % 4])
            await self.leave(f"guest{at}")
        return True

    def start_calls(self) -> bool:
        self._working.append(asyncio.create_task(self._call(), name="calls"))
        return True

    async def _call(self) -> None:
        while True:
            for name, (client, recorder) in list(self.clients.items()):
                if client.following.net is None:
                    continue  # it has just come
                self._serial += 1
                await recorder.call(f"{name}-{self._serial}", "add", "Multi")
                if name in self.clients:
                    self._serial += 1
                    recorder.call_ns(f"{name}-{self._serial}", "Multi")
            await asyncio.sleep(self.options.get("call_s", CALL_S))

    async def stop_calls(self) -> bool:
        """Let the call that is under way end first, so that its fate is known."""
        for task in self._working:
            task.cancel()
        if self._working:
            await asyncio.wait(self._working)
        self._working.clear()
        return True

    async def cancel_storm(self, count: int) -> bool:
        """Many calls, given up at once or a moment later."""
        for _, recorder in list(self.clients.values()):
            tasks = []
            for at in range(count):
                self._serial += 1
                name = f"{recorder.name}-{self._serial}"
                tasks.append(asyncio.create_task(recorder.call(name, "add", "Multi")))
                if at % 5 == 0:
                    await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return True

    def block(self, seconds: float) -> bool:
        time.sleep(seconds)
        return True

    def status(self) -> dict[str, Any]:
        return {name: self._status(client) for name, (client, _) in self.clients.items()}

    def _status(self, client: Client) -> dict[str, Any]:
        follower = client.following.follower
        return {
            "ready": client.mach.is_("Ready"),
            "epoch": client.epoch.hex(),
            "stream": "" if follower is None else follower.stream_id.hex(),
            "number": -1 if follower is None else follower.number,
            "metrics": client.metrics() | {"errors": client.mach.tick("ErrNetwork") // 2},
        }

    async def rest(self) -> bool:
        for client, recorder in self.clients.values():
            await client.sync()
            recorder.at_rest()
        return True

    def turn(self, path: str) -> bool:
        """Begin another history, by where everything stands."""
        self.diary.turn(path)
        for name, (client, recorder) in self.clients.items():
            self.diary.note(Follows(name, self.sights[name]))
            number = client.follower.number
            self.diary.note(Ready(name, client.epoch.hex(), recorder.stream, number))
            recorder.saw(whole=True)
        return True


async def main() -> None:
    fds = shared.descriptors()
    options = config()
    followers = Followers(options)
    for name, view in options["names"].items():
        await followers.join(name, view)
    say({"ready": True})
    names = (
        "join", "leave", "come_and_go", "start_calls", "stop_calls", "cancel_storm", "block",
        "status", "rest", "turn",
    )  # fmt: skip
    await obey({name: getattr(followers, name) for name in names})
    await followers.stop_calls()
    for client, _ in followers.clients.values():
        with contextlib.suppress(AmzmqError):
            await client.stop()
    followers.diary.close()
    say(await shared.leftovers(fds))


if __name__ == "__main__":
    asyncio.run(main())
