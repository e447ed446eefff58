"""The lab's source: changes, payloads, and whatever a fault asks of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from typing import Any

from amzmq.errors import AmzmqError
from amzmq.machine import Event, Machine, State
from amzmq.rpc import Mux
from amzmq.rpc.blobs.blobstore import Offer
from amzmq.wire.journal import JournalLimits
from tests.faults.programs import shared
from tests.oracles.history import Began, Changed, Said
from tests.oracles.recorder import SourceRecorder, clock_of
from tests.rpc.programs.pipe import config, obey, say

LOAD_S = 0.005
JOURNAL = 200_000


class Source:
    """One life of the source, which may be served several times."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.diary = shared.Diary(options["diary"])
        extra = {name: State(multi=True) for name in options.get("extra", [])}
        self.machine = Machine({**extra, **shared.SCHEMA}, id="src")
        self.machine.bind({"CState": self._c}, id="lab")
        self.recorder = SourceRecorder(self.diary.note, options["life"], self.machine)
        self.mux: Mux | None = None
        self.past: dict[str, int] = {}
        self._offers: list[Offer] = []
        self._raising = 0
        self._loading: asyncio.Task[None] | None = None

    def _c(self, e: Event) -> None:
        if self._raising:
            self._raising -= 1
            raise ValueError("raised by the lab")

    @property
    def serving(self) -> Mux:
        assert self.mux is not None
        return self.mux

    async def serve(self, bind: str, feed: str) -> dict[str, str]:
        """Serve, or serve again."""
        mux = Mux(
            self.machine,
            bind,
            feed,
            heartbeat=0.2,
            journal=JournalLimits(messages=self.options.get("journal", JOURNAL)),
            transport=self.recorder.tapped(shared.transport(self.options, "source")),
        )
        await mux.start()
        self.mux = mux
        return {"addr": mux.addr, "feed": mux.feed_addr}

    async def again(self) -> dict[str, str]:
        """Stop serving, and serve again at the same place."""
        addr, feed = self.serving.addr, self.serving.feed_addr
        self._count()
        await self.serving.stop()
        return await self.serve(addr, feed)

    def _count(self) -> None:
        for name, count in self.serving.metrics().items():
            self.past[name] = self.past.get(name, 0) + count

    def start_load(self) -> bool:
        assert self._loading is None, "one load is enough"
        self._loading = asyncio.create_task(self._load(), name="load")
        return True

    async def _load(self) -> None:
        serial = 0
        while True:
            serial += 1
            self.machine.toggle(("A", "B", "C")[serial % 3])
            if serial % 3 == 0:
                self.serving.send_payload("n", serial)
            if serial % 40 == 0:
                self._direct(serial)
            await asyncio.sleep(self.options.get("load_s", LOAD_S))

    def _direct(self, serial: int) -> None:
        for name in self.serving.clients:
            if name.startswith("rc-f"):
                try:
                    receipt = self.serving.send_payload("d", serial, name)
                except AmzmqError:
                    continue  # it left too many unconfirmed: the sender is told, nothing is sent
                self.recorder.sent(name.removeprefix("rc-"), receipt)

    async def stop_load(self) -> bool:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
            self._loading = None
        return True

    async def burst(self, count: int, size: int) -> bool:
        """Many payloads and changes at once."""
        for at in range(count):
            self.machine.add("Multi")
            self.serving.send_payload("b", b"x" * size)
            if at % 100 == 0:
                await asyncio.sleep(0)
        return True

    async def offer_blob(self, client: str, size: int, seed: int) -> str | None:
        """Offer a blob to one client; its digest, or None if that client is not here.

        Or if no file can be opened: the first blob of a process needs some of Python's own.
        """
        data = random.Random(seed).randbytes(size)
        try:
            self._offers.append(await self.serving.send_blob("blob", data, client))
        except (AmzmqError, OSError):
            return None
        return hashlib.sha256(data).hexdigest()

    def close_blobs(self) -> bool:
        """Whoever has not taken them by now gets them no more."""
        for offer in self._offers:
            offer.close()
        self._offers.clear()
        return True

    def block(self, seconds: float) -> bool:
        """Keep the event loop from running."""
        time.sleep(seconds)
        return True

    def raise_in_handlers(self, count: int) -> int:
        """The next activations of C raise in their handler."""
        self._raising = count
        for _ in range(count):
            self.machine.remove("C")
            self.machine.add("C")
        return self.machine.tick("Exception")

    def grow(self, name: str) -> bool:
        """One more state, in front of all others."""
        self.machine.set_schema({name: State(multi=True), **self.machine.schema})
        self.machine.add(name)
        return True

    def fork(self) -> int:
        """A child that uses nothing of ours, and is gone before long."""
        child = os.fork()
        if child == 0:
            time.sleep(0.2)
            os._exit(0)
        return os.waitpid(child, 0)[1]

    def status(self) -> dict[str, Any]:
        mux = self.serving
        heads = {
            stream.stream_id.hex(): stream.head
            for feed in mux._sources.feeds
            for stream in feed.streams
        }
        epoch = next(feed.epoch.hex() for feed in mux._sources.feeds)
        metrics = {name: count + self.past.get(name, 0) for name, count in mux.metrics().items()}
        return {"epoch": epoch, "heads": heads, "metrics": metrics}

    def rest(self) -> bool:
        self.recorder.at_rest(self.status()["epoch"])
        return True

    def turn(self, path: str) -> bool:
        """Begin another history, by where everything stands."""
        status = self.status()
        self.diary.turn(path)
        life = self.recorder.life
        self.diary.note(Changed(life, clock_of(self.machine)))
        self.diary.note(Began(life, status["epoch"]))
        for stream, head in status["heads"].items():
            self.diary.note(Said(stream, head, ""))
        return True


async def main() -> None:
    fds = shared.descriptors()
    options = config()
    source = Source(options)
    say(await source.serve(options["bind"], options["feed"]))
    names = (
        "again", "start_load", "stop_load", "burst", "block", "raise_in_handlers", "grow", "fork",
        "status", "rest", "turn", "offer_blob", "close_blobs",
    )  # fmt: skip
    commands = {name: getattr(source, name) for name in names}
    await obey(
        commands
        | {
            "give_back": shared.give_back,
            "limit_descriptors": shared.limit_descriptors,
            "limit_memory": shared.limit_memory,
        }
    )
    await source.stop_load()
    await source.serving.stop()
    source.recorder.close()
    source.machine.dispose()
    await source.machine.when_disposed()
    source.diary.close()
    await asyncio.get_running_loop().shutdown_default_executor()  # which read the blobs
    say(await shared.leftovers(fds))


if __name__ == "__main__":
    asyncio.run(main())
