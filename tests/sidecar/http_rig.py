"""The interface in this process: one local machine, and one that lives elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from amzmq.machine import Machine, State
from amzmq.machine.event import Event
from amzmq.rpc import Client, Mux
from amzmq.sidecar.config import DaemonConfig
from amzmq.sidecar.directory import Directory
from amzmq.sidecar.host import Host
from amzmq.sidecar.http.metrics import Metrics
from amzmq.sidecar.http.server import HttpServer
from amzmq.sidecar.output import Outlet
from amzmq.sidecar.processes import Children
from amzmq.sidecar.pulse import Pulse
from amzmq.sidecar.systemd import Notifier
from tests.sidecar.rig import PATIENCE_S, Http

SCHEMA = {
    "Open": State(remove="Closed"),
    "Closed": State(remove="Open"),
    "Alarm": State(require="Open"),
    "Bell": State(multi=True),
    "Locked": State(),
}


class Handlers:
    def __init__(self) -> None:
        self.args: dict[str, object] = {}

    def LockedEnter(self, e: Event) -> bool:
        return False

    def BellState(self, e: Event) -> None:
        self.args = dict(e.args)


@dataclass
class Served:
    """What is served, and how to ask for it.

    Attributes:
        http: Asks the interface.
        url: The interface over TCP; "" for a Unix socket.
        door: The local machine.
        far: The machine behind the replica.
        far_mux: What serves it.
        handlers: Of both machines.
        directory: What the interface shows.
    """

    http: Http
    url: str
    door: Machine
    far: Machine
    far_mux: Mux
    handlers: Handlers
    directory: Directory


@asynccontextmanager
async def serving(address: str, path: Path) -> AsyncIterator[Served]:
    """The interface at an address, with the machines ``door`` and the replica of ``far``."""
    handlers = Handlers()
    door = Machine(SCHEMA, id="door", handlers=handlers)
    far = Machine(SCHEMA, id="far", handlers=handlers)
    directory = Directory("test")
    async with Mux(far) as far_mux, Client(far_mux.addr, name="far") as client:
        shown = await directory.open(door, "tcp://127.0.0.1:0")
        replica = directory.show(client.net_mach, client.metrics)
        outlet = Outlet(1)
        host = Host(directory, Children(), outlet, outlet)
        metrics = Metrics(directory, {}, Pulse(Notifier({})), host)
        life = Machine({"Ready": State()})
        life.add("Ready")
        server = HttpServer(DaemonConfig(http=address), directory, life, metrics)
        await server.start()
        try:
            yield Served(Http(path), server.address, door, far, far_mux, handlers, directory)
        finally:
            async with asyncio.timeout(PATIENCE_S):
                await server.stop()
                await directory.withdraw(replica)
                await directory.withdraw(shown)
