"""A follower: put what your program does with the states in the place of the print."""

from __future__ import annotations

import asyncio
import socket

from node import Metrics, Settings, end_signals, probes

from amzmq import Client
from amzmq.errors import ConnectFailed


async def main() -> None:
    """Follow until it is told to end, or there is nobody to follow."""
    settings = Settings.read()
    # Who gives up ends, and is started again by the platform: to look the name up anew.
    client = Client(
        await settings.addresses(),
        name=socket.gethostname(),
        transport=settings.following(),
        conn_retry_timeout=settings.patience,
    )
    with end_signals() as end:
        async with client:
            fleet = client.net_mach
            print("following", fleet.remote_id, fleet, flush=True)
            metrics = Metrics(lambda: [fleet], counters=client.metrics)
            async with probes(settings, lambda: client.mach.is_("Ready"), metrics):
                gave_up = asyncio.ensure_future(_until_given_up(client))
                ended = asyncio.ensure_future(end.wait())
                await asyncio.wait([gave_up, ended], return_when=asyncio.FIRST_COMPLETED)
                for task in (gave_up, ended):
                    task.cancel()
            if client.mach.is_("ConnRetryFailed"):
                raise ConnectFailed(f"lost {settings.upstream}: {client.mach.err()}")


async def _until_given_up(client: Client) -> None:
    await client.mach.when("ConnRetryFailed")


if __name__ == "__main__":
    asyncio.run(main())
