"""A leaf: `python reader.py ADDR...`, the addresses of the relays that it may use."""

import asyncio
import contextlib
import sys

from amzmq import Client, NetworkMachine


async def main(*addrs: str) -> None:
    async with Client(addrs) as client:
        exchange = client.net_mach
        while not exchange.is_disposed:
            word = "open" if exchange.is_("Open") else "closed"
            print(f"{word}, {(exchange.tick('Quote') + 1) // 2} quotes", flush=True)
            await change(exchange)


async def change(exchange: NetworkMachine) -> None:
    """Wait until anything is different: several updates may be one change for who is slow."""
    seen = exchange.clock()
    await exchange.when_query(lambda clock: clock != seen)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
