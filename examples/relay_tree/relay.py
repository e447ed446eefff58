"""A node of the tree: `python relay.py BIND UPSTREAM...`, as `amzmq relay` does."""

import asyncio
import contextlib
import sys

from amzmq.rpc import Relay


async def main(bind: str, *upstream: str) -> None:
    async with Relay(upstream, bind=bind) as relay:
        print("serving at", relay.addr, flush=True)
        while True:
            await relay.mach.when("Stale")
            print("upstream is away: serving what was known last", flush=True)
            await relay.mach.when("Ready")
            print("level with upstream again", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
