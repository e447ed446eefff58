"""A follower in a process of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from amzmq.errors import AmzmqError
from amzmq.rpc import Client
from tests.rpc.programs.pipe import config, obey, say, transport


async def main() -> None:
    options = config()
    client = Client(
        options["addr"],
        name=options["name"],
        conn_retries=1000,
        conn_retry_delay=0.01,
        conn_retry_backoff=0.05,
        transport=transport(options.get("sockets", {})),
    )

    def clock() -> dict[str, Any]:
        net = client.net_mach
        return {"time": list(net.time()), "queue_tick": net.queue_tick}

    async def add(*states: str) -> str:
        try:
            return str(await client.net_mach.add(*states))
        except AmzmqError as error:
            return type(error).__name__

    async with client:
        say({"ready": True})
        await obey(
            {
                "add": add,
                "clock": clock,
                "metrics": lambda: client.metrics() | {"ready": client.mach.tick("Ready")},
            }
        )


asyncio.run(main())
