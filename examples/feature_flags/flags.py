"""The owner of the flags: `python flags.py [ADDR]`."""

import asyncio
import contextlib
import sys

from amzmq import Machine, Mux, State, States
from amzmq.machine import Event

ADDR = "tcp://127.0.0.1:7711"


class Flags(States):
    """What can be switched, and what depends on what."""

    Payments = State()
    NewCheckout = State(require=Payments)
    Maintenance = State(remove=[Payments, NewCheckout])
    DarkMode = State()


class Handlers:
    def MaintenanceExit(self, e: Event) -> bool:
        """Who ends the maintenance has to sign for it; False is a veto."""
        return "by" in e.args

    def AnyState(self, e: Event) -> None:
        print(f"{e} -> {e.machine}", flush=True)


async def main(addr: str = ADDR) -> None:
    flags = Machine(Flags, id="flags", handlers=Handlers())
    flags.add("Payments")
    async with Mux(flags, bind=addr) as mux:
        print("serving at", mux.addr, flush=True)
        await flags.when_disposed()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
