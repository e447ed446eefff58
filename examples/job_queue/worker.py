"""A worker, whose life is a machine: `python worker.py [ADDR]`."""

import asyncio
import contextlib
import hashlib
import sys
from dataclasses import dataclass

from amzmq import Machine, Mux, State, States
from amzmq.machine import Event, parse_args


@dataclass
class Job:
    """The arguments of Busy."""

    id: str
    text: str


class Worker(States):
    """Idle comes by itself once it has started, as long as nothing keeps it out."""

    Start = State()
    Idle = State(auto=True, require=Start)
    Busy = State(require=Start, remove=Idle)
    Draining = State(remove=Idle)


class Handlers:
    def __init__(self) -> None:
        self.mux: Mux | None = None

    def BusyBusy(self, e: Event) -> bool:
        """One job at a time: while Busy, adding it again is refused."""
        return False

    def DrainingBusy(self, e: Event) -> bool:
        """No new job while Draining."""
        return False

    async def BusyState(self, e: Event) -> None:
        """The work. Whoever removes Busy cancels it."""
        job = parse_args(Job, e)
        result = await asyncio.to_thread(work, job.text)
        assert self.mux is not None
        self.mux.send_payload("done", {"id": job.id, "result": result})
        e.machine.remove("Busy")


def work(text: str) -> str:
    """Something that takes a while."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"salt", 100_000).hex()[:16]


async def main(addr: str = "tcp://127.0.0.1:0") -> None:
    handlers = Handlers()
    worker = Machine(Worker, id="worker", handlers=handlers)
    worker.add("Start")
    async with Mux(worker, bind=addr) as handlers.mux:
        print("serving at", handlers.mux.addr, flush=True)
        await worker.when("Draining")
        await worker.when_not("Busy")
    print("drained", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
