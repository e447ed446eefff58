"""A source in a process of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from amzmq.errors import AmzmqError
from amzmq.machine import Machine, State
from amzmq.rpc import Mux
from amzmq.wire.journal import JournalLimits
from tests.rpc.programs.pipe import config, obey, say, transport

SCHEMA = {"A": State(), "B": State(multi=True), "C": State(remove=["A"])}


async def main() -> None:
    options = config()
    machine = Machine(SCHEMA, id="src")
    mux = Mux(
        machine,
        bind=options.get("bind", "tcp://127.0.0.1:0"),
        feed=options.get("feed", ""),
        heartbeat=options.get("heartbeat", 0.2),
        journal=JournalLimits(messages=options.get("journal", 100_000)),
        transport=transport(options.get("sockets", {})),
    )
    try:
        await mux.start()
    except AmzmqError as error:
        say({"error": type(error).__name__, "message": str(error)})
        return
    loading: list[asyncio.Task[None]] = []

    async def load() -> None:
        """Some thousand changes and payloads a second, as large as they usually are."""
        while True:
            for _ in range(5):
                machine.toggle("A")
                mux.send_payload("n", b"x" * 200)
                await asyncio.sleep(0)
            await asyncio.sleep(0.002)

    def start_load() -> bool:
        loading.append(asyncio.create_task(load()))
        return True

    async def stop_load() -> bool:
        for task in loading:
            task.cancel()
        await asyncio.wait(loading)
        loading.clear()
        return True

    def clock() -> dict[str, Any]:
        return {"time": list(machine.time()), "queue_tick": machine.queue_tick}

    def status() -> dict[str, Any]:
        return {
            "has_clients": mux.mach.is_("HasClients"),
            "clients": sorted(mux.clients),
            **mux.metrics(),
        }

    say({"addr": mux.addr, "feed": mux.feed_addr})
    await obey(
        {
            "add": lambda *states: str(machine.add(*states)),
            "clock": clock,
            "status": status,
            "start_load": start_load,
            "stop_load": stop_load,
        }
    )
    if loading:
        await stop_load()
    await mux.stop()


asyncio.run(main())
