"""A relay between the lab's source and its followers."""

from __future__ import annotations

import asyncio

from amzmq.rpc.relay.relay import Relay
from amzmq.wire.journal import JournalLimits
from tests.faults.programs import shared
from tests.faults.programs.source import JOURNAL
from tests.rpc.programs.pipe import config, obey, say


async def main() -> None:
    fds = shared.descriptors()
    options = config()
    relay = Relay(
        options["upstream"],
        options["bind"],
        options["feed"],
        name="relay",
        heartbeat=0.2,
        journal=JournalLimits(messages=options.get("journal", JOURNAL)),
        conn_retry_delay=0.02,
        conn_retry_backoff=0.2,
        transport=shared.transport(options, "source"),
        new_transport=lambda: shared.transport(options, "client"),
    )
    await relay.start()
    say({"addr": relay.addr, "feed": relay.feed_addr})
    await obey({"metrics": relay.mux.metrics, "give_back": shared.give_back})
    await relay.stop()
    say(await shared.leftovers(fds))


if __name__ == "__main__":
    asyncio.run(main())
