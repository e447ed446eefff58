"""Followers at the edge, several in one process, each with sockets of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from amzmq.errors import AmzmqError
from amzmq.rpc import Client
from tests.rpc.programs.pipe import config, obey, say, transport


class Leaf:
    """One follower, and the payloads that it was given."""

    def __init__(self, addrs: list[str], name: str) -> None:
        self.client = Client(
            addrs,
            name,
            call_timeout=2.0,
            conn_retries=100_000,
            conn_retry_delay=0.01,
            conn_retry_backoff=0.1,
            conn_retry_timeout=0.0,
            transport=transport({}),
        )
        self.given = 0
        self.client.on_payload(self._take)

    def _take(self, payload: object) -> None:
        self.given += 1

    def state(self) -> dict[str, Any]:
        net = self.client.net_mach
        return {
            "clock": {"time": list(net.time()), "queue_tick": net.queue_tick},
            "ready": self.client.mach.is_("Ready"),
            "path": list(net.path),
            "addr": self.client.addr,
            "given": self.given,
            **self.client.metrics(),
        }


async def main() -> None:
    options = config()
    leaves = [Leaf(addrs, name) for name, addrs in options["leaves"].items()]

    async def add(*states: str) -> list[str]:
        async def one(leaf: Leaf) -> str:
            try:
                return str(await leaf.client.net_mach.add(*states))
            except AmzmqError as error:
                return type(error).__name__

        return list(await asyncio.gather(*(one(leaf) for leaf in leaves)))

    async with AsyncExitStack() as stack:
        for leaf in leaves:
            await stack.enter_async_context(leaf.client)
        say({"ready": True})
        await obey({"add": add, "states": lambda: [leaf.state() for leaf in leaves]})


asyncio.run(main())
