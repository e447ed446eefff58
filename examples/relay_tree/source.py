"""The one source, which knows its relays only: `python source.py [ADDR]`."""

import asyncio
import contextlib
import sys

from amzmq import Machine, Mux, State, States

ADDR = "tcp://127.0.0.1:7701"


class Exchange(States):
    Closed = State(remove="Open")
    Open = State(remove=Closed)
    Quote = State(multi=True, require=Open)


async def main(addr: str = ADDR) -> None:
    exchange = Machine(Exchange, id="exchange")
    exchange.add("Closed")
    async with Mux(exchange, bind=addr) as mux:
        print("serving at", mux.addr, flush=True)
        await exchange.when_disposed()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
