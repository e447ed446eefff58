"""A relay in a process of its own."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from amzmq.errors import AmzmqError
from amzmq.rpc.relay.relay import Relay
from amzmq.wire.journal import JournalLimits
from tests.rpc.programs.pipe import config, obey, say, transport


async def main() -> None:
    options = config()
    sockets = options.get("sockets", {})
    # It warns of upstreams that go away and of calls refused then: the tests bring that about.
    logging.getLogger("amzmq").setLevel(logging.ERROR)
    relay = Relay(
        options["upstream"],
        options.get("bind", "tcp://127.0.0.1:0"),
        options.get("feed", ""),
        options["name"],
        heartbeat=options.get("heartbeat", 0.2),
        journal=JournalLimits(messages=options.get("journal", 100_000)),
        conn_retry_delay=0.01,
        conn_retry_backoff=0.05,
        transport=transport(sockets),
        new_transport=partial(transport, sockets),
    )
    try:
        await relay.start()
    except AmzmqError as error:
        say({"error": type(error).__name__, "message": str(error)})
        return

    def clock() -> dict[str, Any]:
        net = next(iter(relay.machines.values()))
        return {"time": list(net.time()), "queue_tick": net.queue_tick}

    def status() -> dict[str, Any]:
        return {
            "ready": relay.mach.is_("Ready"),
            "clients": sorted(relay.mux.clients),
            "upstream": next(iter(relay.clients.values())).addr,
            **relay.metrics(),
        }

    say({"addr": relay.addr, "feed": relay.feed_addr})
    await obey({"clock": clock, "status": status})
    await relay.stop()


asyncio.run(main())
