"""One service of the fleet: `python service.py [ADDR]`."""

import asyncio
import contextlib
import sys

from amzmq import Api, Client
from amzmq.machine import Event

ADDR = "tcp://127.0.0.1:7711"


def page(flags: Api) -> str:
    """What a visitor gets: the flags are read here, on every request, for free."""
    if flags.is_("Maintenance"):
        return "back soon"
    checkout = "new" if flags.is_("NewCheckout") else "old"
    theme = "dark" if flags.is_("DarkMode") else "light"
    return f"{checkout} checkout, {theme}"


class Handlers:
    def AnyState(self, e: Event) -> None:
        print(page(e.machine), flush=True)


async def main(addr: str = ADDR) -> None:
    async with Client(addr) as client:
        flags = client.net_mach
        print(page(flags), flush=True)
        flags.bind(Handlers())
        # The last flags go on to hold while their owner is away, until it is given up.
        await client.mach.when("ConnRetryFailed")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
