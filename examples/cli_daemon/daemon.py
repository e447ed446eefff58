"""The daemon: `python daemon.py [ADDR [DIR]]`, with the REPL's address file in DIR."""

import asyncio
import contextlib
import sys

from states import ADDR, DaemonStates, OpArgs

from amzmq import Machine, Mux
from amzmq.machine import Event, parse_args
from amzmq.rpc.repl import mach_repl


class Handlers:
    """Each operation is a task that ends with its state, so with Start as well."""

    def __init__(self) -> None:
        self.mux: Mux | None = None

    async def OpFoo1State(self, e: Event) -> None:
        await self._work("foo", "OpFoo1", e)

    async def OpBar2State(self, e: Event) -> None:
        await self._work("bar", "OpBar2", e)

    async def _work(self, what: str, op: str, e: Event) -> None:
        assert self.mux is not None
        asked = parse_args(OpArgs, e)
        # Nobody waits for the answer once the client has gone; so that ends the work, too.
        server = next(s for s in self.mux.servers if s.client.name == asked.client)
        present = server.mach.state_ctx("ClientConnected")
        print(f"{what} for {asked.client}", flush=True)
        try:
            async with asyncio.timeout(asked.duration):  # the work: here it only takes its time
                await present.wait()
            print(f"{what} given up: {asked.client} has left", flush=True)
        except TimeoutError:
            text = f"done for {asked.client}: {what}"
            self.mux.send_payload("opdone", text, destination=asked.client, event=e)
        e.machine.remove(op)


async def main(addr: str = ADDR, addr_dir: str | None = None) -> None:
    handlers = Handlers()
    daemon = Machine(DaemonStates, id="daemon", handlers=handlers)
    daemon.add("Start")
    async with (
        Mux(daemon, bind=addr, args=[OpArgs]) as handlers.mux,
        mach_repl(daemon, addr_dir=addr_dir, args=[OpArgs]) as repl,
    ):
        print("serving at", handlers.mux.addr, flush=True)
        print("REPL: amzmq repl", repl.addr, flush=True)
        await daemon.when_not("Start")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
