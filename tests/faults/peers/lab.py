"""The lab with another system in it: the same meters, the same faults, the same questions."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from amzmq.net.traffic import TrafficMeter
from tests.faults.lab import Lab, NotHealed
from tests.faults.peers.broker import Broker
from tests.faults.peers.source import LIFE
from tests.faults.peers.systems import System
from tests.faults.process import Program
from tests.ports import free_addr

PROGRAM = "tests.faults.peers.program"
NAMES = ("f1", "f2")
SETTLE_S = 15.0
"""At the end; who has not healed by then is judged as it is."""


class PeerLab(Lab):
    """A source and two followers of another system.

    The meters are between the followers and what they connect to: the source, or the broker.

    Args:
        folder: For histories, and for what a broker keeps.
        system: Which one.
        sockets: Options of its sockets, where it has such.

    Attributes:
        broker: The server between them, if the system has one.
    """

    facts = ("state", "taken", "ended")

    def __init__(self, folder: Path, system: System, sockets: dict[str, int]) -> None:
        super().__init__(folder, sockets=sockets)
        self._feed_addr = free_addr()
        self.broker: Broker | None = None
        self._system = system
        if system.broker is not None:
            (folder / "broker").mkdir()
            self.broker = Broker(*system.broker, folder / "broker")

    async def __aenter__(self) -> PeerLab:
        if self.broker is not None:
            await self.broker.start()
        await self.start_source()
        # Where there is a broker, it is that one's.
        self._addr, self._feed_addr = self.source.hello["addr"], self.source.hello["feed"]
        self.talk = self.feed = TrafficMeter(self._addr)
        await self.talk.start()
        if self._feed_addr != self._addr:
            self.feed = TrafficMeter(self._feed_addr)
            await self.feed.start()
        self.readers = await self._follow(dict.fromkeys(NAMES, ""))
        await self.source.ask("start_load")
        return self

    async def __aexit__(self, *failure: object) -> None:
        await super().__aexit__(*failure)
        if self.broker is not None:
            await self.broker.kill()

    @property
    def followers(self) -> tuple[Program, ...]:
        return (self.readers,)

    async def start_source(self, extra: tuple[str, ...] = ()) -> None:
        self._lives += 1
        self.source = await Program.run(
            PROGRAM,
            system=self._system.name,
            role="source",
            diary=self.diary(),
            life=f"life{self._lives}",
            bind=self._addr,
            feed=self._feed_addr,
            broker="" if self.broker is None else self.broker.addr,
            sockets=self.options["sockets"],
        )

    async def _follow(self, names: dict[str, str]) -> Program:
        return await Program.run(
            PROGRAM,
            system=self._system.name,
            role="followers",
            diary=self.diary(),
            names=list(names),
            addr=self.talk.addr,
            feed=self.feed.addr,
            sockets=self.options["sockets"],
        )

    def reaches(self, status: dict[str, Any], target: dict[str, Any]) -> bool:
        shown, due = status["state"], target["state"]
        life, serial = target["event"]
        is_here = shown.get(LIFE) == due[LIFE] and status["taken"].get(life, 0) >= serial
        return is_here and all(shown.get(key, 0) >= due[key] for key in due)

    async def settle(self) -> None:
        await self.source.ask("stop_load")
        self.heal_s = SETTLE_S
        with contextlib.suppress(NotHealed):  # the judges will see it
            await self.healed()
        await asyncio.sleep(0.5)
        for program in (*self.followers, self.source):
            await program.ask("rest")
