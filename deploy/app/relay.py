"""A relay: follows the source, or other relays, and serves whoever has a key."""

from __future__ import annotations

import asyncio
from collections import Counter

from node import Metrics, Settings, end_signals, probes

from amzmq.rpc import Relay


async def main() -> None:
    """Relay until it is told to end."""
    settings = Settings.read()
    relay = Relay(
        await settings.addresses(),
        bind=settings.bind,
        transport=settings.serving(),
        new_transport=settings.following,
    )
    with end_signals() as end:
        async with relay:
            print("serving at", relay.addr, flush=True)
            metrics = Metrics(relay.machines.values, relay.mux, lambda: upstream(relay))
            async with probes(settings, lambda: relay.mach.is_("Ready"), metrics):
                await end.wait()


def upstream(relay: Relay) -> Counter[str]:
    """The counters of what it follows."""
    counts: Counter[str] = Counter()
    for client in relay.clients.values():
        counts.update(client.metrics())
    return counts


if __name__ == "__main__":
    asyncio.run(main())
