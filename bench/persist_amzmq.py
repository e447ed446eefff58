"""A source that keeps its clock in a file; its clients are those of the round trip."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from amzmq import Mux
from bench.channel import Channel
from bench.rtt_amzmq import client, pipelined
from bench.scenario import small_machine

__all__ = ["client", "pipelined", "source"]


async def source(channel: Channel, fsync: str) -> None:
    """Serves the machine until told to stop; without a file if there is no policy."""
    machine = small_machine()
    with tempfile.TemporaryDirectory(prefix="amzmq-persist-") as folder:
        options: dict[str, Any] = {"persist": Path(folder, "clock"), "fsync": fsync}
        async with Mux(machine, bind="tcp://127.0.0.1:0", **(options if fsync else {})) as mux:
            channel.send(addr=mux.addr)
            await channel.receive_async()
            metrics = mux.metrics()
            channel.send(
                state=list(machine.time()),
                requests=metrics["requests"],
                commits=metrics.get("persist_commits", 0),
                bytes=metrics.get("persist_bytes", 0),
            )
            await channel.receive_async()
