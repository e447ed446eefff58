"""What the programs of a deployment have in common: settings, keys, the end, probes, metrics.

The environment has the settings:

    AMZMQ_BIND      where to serve; the feed takes the port after it
    AMZMQ_UPSTREAM  what to follow; every address behind the name is used
    AMZMQ_KEYS      the folder with the keys: own.key, server.pub, clients/*.pub
    AMZMQ_PROBES    HOST:PORT of /healthz, /readyz and /metrics
    AMZMQ_PATIENCE  seconds that a follower goes on trying to connect before it ends

Without AMZMQ_KEYS nothing is secured, and only this host can be served.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from amzmq import Machine, Mux, NetworkMachine
from amzmq.net import ZmqTransport
from amzmq.net.keys import Keys


@dataclass(frozen=True, slots=True)
class Settings:
    """See the module."""

    bind: str
    upstream: str
    keys: Path | None
    probes: str
    patience: float

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings as the environment has them."""
        keys = environment.get("AMZMQ_KEYS", "")
        return cls(
            environment.get("AMZMQ_BIND", "tcp://127.0.0.1:7701"),
            environment.get("AMZMQ_UPSTREAM", ""),
            Path(keys) if keys else None,
            environment.get("AMZMQ_PROBES", "127.0.0.1:9464"),
            float(environment.get("AMZMQ_PATIENCE", "30")),
        )

    def serving(self) -> ZmqTransport:
        """For what is served: to holders of keys, or else on this host only."""
        if self.keys is None or not (self.keys / "clients").is_dir():
            return ZmqTransport()
        own = Keys.load(self.keys / "own.key")
        return ZmqTransport(curve=own, authenticator=self.keys / "clients")

    def following(self) -> ZmqTransport:
        """For what is followed: the holder of the right key, if there are keys."""
        if self.keys is None:
            return ZmqTransport()
        own = Keys.load(self.keys / "own.key")
        return ZmqTransport(curve=own, server_key=self.keys / "server.pub")

    async def addresses(self) -> list[str]:
        """Every address behind the upstream's name, in random order.

        A client has two connections, and both have to reach the same relay. So it is not left to
        a name to decide, nor to a balancer, which would do so for each connection.
        """
        host, _, port = self.upstream.removeprefix("tcp://").rpartition(":")
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        hosts = sorted({str(info[4][0]) for info in found if info[0] == socket.AF_INET})
        random.shuffle(hosts)
        return [f"tcp://{each}:{port}" for each in hosts]


@contextlib.contextmanager
def end_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    try:
        yield end
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def name_of(machine: Machine | NetworkMachine) -> str:
    """What a machine is called where it is owned."""
    return machine.remote_id if isinstance(machine, NetworkMachine) else machine.id


class Metrics(Collector):
    """Reads the parts when Prometheus asks; the names are those of the sidecar.

    Args:
        machines: Machines and replicas.
        mux: What serves them, if they are served.
        counters: Further ones, of what follows.
    """

    def __init__(
        self,
        machines: Callable[[], Iterable[Machine | NetworkMachine]],
        mux: Mux | None = None,
        counters: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._machines = machines
        self._mux = mux
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Everything, now."""
        machines = list(self._machines())
        ticks = CounterMetricFamily(
            "amzmq_machine_ticks", "Sum of the clock of a machine.", labels=["machine"]
        )
        active = GaugeMetricFamily(
            "amzmq_state_active", "Whether a state is active.", labels=["machine", "state"]
        )
        for machine in machines:
            name = name_of(machine)
            ticks.add_metric([name], sum(machine.time()))
            for state in machine.state_names:
                active.add_metric([name, state], machine.tick(state) & 1)
        yield ticks
        yield active
        label = name_of(machines[0]) if machines else ""
        if self._mux is not None:
            yield from self._served(self._mux, label)
        for name, count in self._counters().items():
            yield _counter(f"amzmq_client_{name}", label, count)

    def _served(self, mux: Mux, label: str) -> Iterator[Metric]:
        clients = GaugeMetricFamily("amzmq_clients", "Followers of a machine.", labels=["machine"])
        clients.add_metric([label], len(mux.clients))
        yield clients
        lag = GaugeMetricFamily(
            "amzmq_client_lag_messages",
            "Messages that a follower has not confirmed.",
            labels=["machine", "client"],
        )
        for client, behind in mux.clients.items():
            lag.add_metric([label, client], behind)
        yield lag
        for name, count in mux.metrics().items():
            yield _counter(f"amzmq_mux_{name}", label, count)


def _counter(name: str, machine: str, count: int) -> Metric:
    kind = GaugeMetricFamily if name in _LEVELS else CounterMetricFamily
    family = kind(name, name.replace("_", " "), labels=["machine"])
    family.add_metric([machine], count)
    return family


_LEVELS = frozenset(
    f"amzmq_mux_{name}" for name in ("head", "streams", "updates", "payloads", "encoded")
)
"""What may also fall: sums over the streams that a Mux has at the moment."""


class _Server(uvicorn.Server):
    """Leaves the signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def probes(
    settings: Settings, is_ready: Callable[[], bool], metrics: Metrics
) -> AsyncIterator[None]:
    """Answer probes and Prometheus for as long as the block lasts."""
    registry = CollectorRegistry()
    registry.register(metrics)

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(request: Request) -> Response:
        return PlainTextResponse("ready\n") if is_ready() else PlainTextResponse("not yet\n", 503)

    async def show(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    paths = {"/healthz": healthz, "/readyz": readyz, "/metrics": show}
    app = Starlette(routes=[Route(path, answer) for path, answer in paths.items()])
    server = _Server(
        uvicorn.Config(app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=1)
    )
    host, _, port = settings.probes.rpartition(":")
    with socket.create_server((host, int(port))) as listening:
        print(f"probes at http://{host}:{listening.getsockname()[1]}", flush=True)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield
        finally:
            server.should_exit = True
            await serving
