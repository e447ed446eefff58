"""A source, followers and a caller in processes of their own, behind meters, under load."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amzmq.net.keys import Keys
from amzmq.net.traffic import TrafficMeter
from tests.faults.process import Program
from tests.faults.programs.source import JOURNAL
from tests.oracles.history import Gone, History, from_row
from tests.ports import free_addr

READERS = {"f1": "full", "f2": "part"}
RELAYED = {"f1": "full", "f2": "full"}
CALLERS = {"c1": "full"}
HEAL_S = 30.0
POLL_S = 0.02


class NotHealed(Exception):
    """The followers did not become level again by themselves."""


class Lab:
    """Everything that one fault is tried on.

    Args:
        folder: For histories and keys.
        secured: Whether CURVE is on.
        sockets: `SocketOptions` of all programs.
        journal: Messages that the source's journal holds.
        relayed: Whether a relay stands between the source and all others.

    Attributes:
        source, readers, caller: The programs.
        relay: The relay's, if there is one.
        talk, feed: The meters of the source's two sockets.
    """

    heal_s = HEAL_S
    facts: tuple[str, ...] = ("ready", "epoch", "number")

    def __init__(
        self,
        folder: Path,
        secured: bool = False,
        sockets: dict[str, int] | None = None,
        journal: int = JOURNAL,
        relayed: bool = False,
    ) -> None:
        self.folder = folder
        self.source: Program
        self.readers: Program
        self.caller: Program
        self.talk: TrafficMeter
        self.feed: TrafficMeter
        self.relay: Program | None = None
        self.keys = ""
        self._relayed = relayed
        self._door: dict[str, str] = {}
        self.gone: list[str] = []
        self.options: dict[str, Any] = {"sockets": sockets or {}, "journal": journal}
        self._journal = journal
        self._diaries = 0
        self._lives = 0
        # What is started again where it was must find its port free.
        self._addr, self._feed_addr = free_addr(), ""
        self._counted: Counter[str] = Counter()
        if secured:
            self.keys = str(folder)
            for role in ("source", "client", "stranger"):
                Keys.generate().save(folder / f"{role}.key")
            self.options["keys"] = self.keys

    # Life.

    async def __aenter__(self) -> Lab:
        await self.start_source()
        self._addr, self._feed_addr = self.source.hello["addr"], self.source.hello["feed"]
        self._door = self.source.hello
        if self._relayed:
            await self.start_relay()
        port = self._door["feed"].rpartition(":")[2]
        # A follower looks for the feed at the host that it connected to, at the feed's own port.
        self.talk = TrafficMeter(self._door["addr"], bind="tcp://127.0.0.2:0")
        self.feed = TrafficMeter(self._door["feed"], bind=f"tcp://127.0.0.2:{port}")
        await self.talk.start()
        await self.feed.start()
        self.readers, self.caller = await asyncio.gather(
            self._follow(RELAYED if self._relayed else READERS), self._follow(CALLERS)
        )
        await self.caller.ask("start_calls")
        await self.source.ask("start_load")
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in ("source", "readers", "caller", "relay"):
            if (program := getattr(self, name, None)) is not None:
                await program.kill()
        for name in ("talk", "feed"):
            if (meter := getattr(self, name, None)) is not None:
                await meter.close()

    def diary(self) -> str:
        """Where somebody's history goes."""
        self._diaries += 1
        return str(self.folder / f"{self._diaries}.history")

    async def start_source(self, extra: tuple[str, ...] = ()) -> None:
        """A source with a new life, where the last one was."""
        self._lives += 1
        self.source = await Program.run(
            "source",
            diary=self.diary(),
            life=f"life{self._lives}",
            bind=self._addr,
            feed=self._feed_addr,
            extra=extra,
            **self.options,
        )

    async def start_relay(self) -> None:
        """A relay, where the last one was."""
        again = self.relay is not None
        if again:
            self._journal = 0  # a new relay does not know what was said before
        self.relay = await Program.run(
            "relay",
            upstream=self._addr,
            bind=self._door["addr"] if again else free_addr(),
            feed=self._door["feed"] if again else "",
            **self.options,
        )
        self._door = self.relay.hello

    async def restart_source(self, extra: tuple[str, ...] = ()) -> None:
        """The same under load, after the last one has ended."""
        await self.start_source(extra)
        await self.source.ask("start_load")

    async def _follow(self, names: dict[str, str]) -> Program:
        return await Program.run(
            "followers", diary=self.diary(), addr=self.talk.addr, names=names, **self.options
        )

    async def replace(self, program: str, names: dict[str, str]) -> None:
        """Kill followers and start others."""
        old: Program = getattr(self, program)
        self.gone += [name for name in (await old.ask("status"))]
        await self._count(old)
        await old.kill()
        setattr(self, program, await self._follow(names))

    async def _count(self, followers: Program) -> None:
        """Keep the counters of followers that are about to end."""
        for status in (await followers.ask("status")).values():
            self._counted.update(status["metrics"])

    # What can be seen.

    @property
    def followers(self) -> tuple[Program, ...]:
        """All programs that follow."""
        return self.readers, self.caller

    async def metrics(self) -> Counter[str]:
        """All counters of all programs."""
        total = self._counted.copy()
        total.update((await self.source.ask("status"))["metrics"])
        for program in self.followers:
            for status in (await program.ask("status")).values():
                total.update(status["metrics"])
        return total

    async def healed(self) -> float:
        """Wait until everybody has what the source had at this moment; seconds that it took.

        Raises:
            NotHealed: It takes too long.
        """
        started = time.monotonic()
        target = await self.source.ask("status")
        while True:
            if await self._all(lambda status: self.reaches(status, target)):
                return time.monotonic() - started
            if time.monotonic() - started > self.heal_s:
                raise NotHealed(f"not level within {self.heal_s:.0f} s: {await self._where()}")
            await asyncio.sleep(POLL_S)

    def reaches(self, status: dict[str, Any], target: dict[str, Any]) -> bool:
        """Whether a follower has what the source had."""
        head = target["heads"].get(status["stream"], 0)
        is_here = bool(status["ready"]) and status["epoch"] == target["epoch"]
        return is_here and int(status["number"]) >= head

    async def _all(self, holds: Callable[[dict[str, Any]], bool]) -> bool:
        for program in self.followers:
            if not all(map(holds, (await program.ask("status")).values())):
                return False
        return True

    async def _where(self) -> str:
        states = [await program.ask("status") for program in self.followers]
        return "; ".join(
            f"{name} {[status[fact] for fact in self.facts]}"
            for state in states
            for name, status in state.items()
        )

    # The end.

    async def settle(self) -> None:
        """End the load, and come to rest."""
        await self.caller.ask("stop_calls")
        await self.source.ask("stop_load")
        await self.healed()
        await asyncio.sleep(0.5)  # two heartbeats: confirmations and reports come with them
        for program in (*self.followers, self.source):
            await program.ask("rest")

    async def end(self) -> tuple[History, list[str]]:
        """End everybody; what happened, and what was left behind."""
        left = [
            *[one for program in self.followers for one in await program.stop()],
            *(await self.relay.stop() if self.relay is not None else []),
            *await self.source.stop(),
        ]
        return self.history(), left

    def history(self) -> History:
        """What everybody has written down, in order."""
        rows = []
        for path in self.folder.glob("*.history"):
            # The last line of a process that was killed may be half a line.
            lines = path.read_bytes().split(b"\n")[:-1]
            rows += [json.loads(line) for line in lines]
        rows.sort(key=lambda row: int(row[0]))
        history = History(self._journal, [from_row(row[1]) for row in rows])
        for name in self.gone:
            history.note(Gone(name))
        return history
