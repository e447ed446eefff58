"""A source that keeps its clocks in a file, in a process of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from amzmq.errors import AmzmqError
from amzmq.machine import Machine, State
from amzmq.rpc import Mux
from tests.rpc.programs.pipe import config, obey, say, transport


async def main() -> None:
    options = config()
    names = [f"S{number}" for number in range(options["clients"])]
    machine = Machine({name: State() for name in names}, id=options.get("id", "src"))
    mux = Mux(
        machine,
        bind=options.get("bind", "tcp://127.0.0.1:0"),
        feed=options.get("feed", ""),
        heartbeat=0.2,
        transport=transport({}),
        persist=options["path"],
        fsync=options.get("fsync", "always"),
    )
    try:
        await mux.start()
    except AmzmqError as error:
        say({"error": type(error).__name__, "message": str(error)})
        return

    def clock() -> dict[str, Any]:
        return {"ticks": machine.clock(), "machine_tick": machine.machine_tick}

    say({"addr": mux.addr, "feed": mux.feed_addr, **clock()})
    await obey({"clock": clock})
    await mux.stop()


asyncio.run(main())
