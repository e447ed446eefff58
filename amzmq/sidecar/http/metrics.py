"""What Prometheus asks for: read from the parts at the moment it asks, nothing is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from amzmq.sidecar.directory import Directory, Exposed
from amzmq.sidecar.host import Host
from amzmq.sidecar.jobs import Job
from amzmq.sidecar.pulse import Pulse

_LEVELS = {"mux": frozenset({"head", "streams", "updates", "payloads", "encoded"})}
"""Numbers that may also fall: those of a Mux are sums over the streams of the moment."""


class Metrics:
    """The page of ``/metrics``.

    Args:
        directory: The machines.
        jobs: The jobs by name.
        pulse: How late the event loop is.
        host: What the daemon lends to jobs.
    """

    MEDIA_TYPE = CONTENT_TYPE_LATEST

    def __init__(
        self, directory: Directory, jobs: Mapping[str, Job], pulse: Pulse, host: Host
    ) -> None:
        # One of its own: the global one is for the Python code of attached machines.
        self._registry = CollectorRegistry()
        self._registry.register(_Parts(directory, jobs, pulse, host))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self._registry)


class _Parts(Collector):
    def __init__(
        self, directory: Directory, jobs: Mapping[str, Job], pulse: Pulse, host: Host
    ) -> None:
        self._directory = directory
        self._jobs = jobs
        self._pulse = pulse
        self._host = host

    def collect(self) -> Iterable[Metric]:
        """Everything, now."""
        exposed = list(self._directory)
        yield _gauge("machines", "Machines shown.", len(exposed))
        yield from _machines(exposed)
        yield from _followers(exposed)
        yield from self._daemon()
        muxes = {each.mux.mach.id: each.mux for each in exposed if each.mux is not None}
        yield from _counts("mux", "mux", [(id, mux.metrics()) for id, mux in muxes.items()])
        yield from _counts("client", "machine", [(e.id, e.metrics()) for e in exposed])
        yield from _counts("job", "job", [(n, job.metrics()) for n, job in self._jobs.items()])

    def _daemon(self) -> Iterable[Metric]:
        pulse = self._pulse
        yield _gauge("loop_delay_seconds", "How late the event loop was.", pulse.delay_s)
        yield _gauge("loop_delay_max_seconds", "At the worst so far.", pulse.worst_s)
        orphans = self._host.children.orphans_reaped
        yield _counter("orphans_reaped", "Processes left to the daemon.", orphans)
        lost = self._host.stdout.lost + self._host.stderr.lost
        yield _counter("output_lost_bytes", "Output that nobody took.", lost)


def _machines(exposed: list[Exposed]) -> Iterable[Metric]:
    ticks = CounterMetricFamily(
        "amzmq_machine_ticks", "Sum of the clock of a machine.", labels=["machine"]
    )
    active = GaugeMetricFamily(
        "amzmq_state_active", "Whether a state is active.", labels=["machine", "state"]
    )
    stale = GaugeMetricFamily(
        "amzmq_machine_stale", "Whether the source of a machine is away.", labels=["machine"]
    )
    for each in exposed:
        stale.add_metric([each.id], each.is_stale)
        clock = each.machine.clock()
        ticks.add_metric([each.id], sum(clock.values()))
        for name, tick in clock.items():
            active.add_metric([each.id, name], tick & 1)
    return ticks, active, stale


def _followers(exposed: list[Exposed]) -> Iterable[Metric]:
    clients = GaugeMetricFamily("amzmq_clients", "Followers of a machine.", labels=["machine"])
    lag = GaugeMetricFamily(
        "amzmq_client_lag_messages",
        "Messages that a follower has not confirmed.",
        labels=["machine", "client"],
    )
    for each in exposed:
        told = each.clients
        clients.add_metric([each.id], len(told))
        for client, behind in told.items():
            lag.add_metric([each.id, client], behind)
    return clients, lag


def _counts(
    part: str, label: str, counted: Iterable[tuple[str, Mapping[str, float]]]
) -> Iterable[Metric]:
    """A family for each counter that any of them has."""
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for value, counts in counted:
        for name, count in counts.items():
            if name not in families:
                text = f"{name.replace('_', ' ').capitalize()}, of a {part}."
                family = GaugeMetricFamily if name in _LEVELS.get(part, ()) else CounterMetricFamily
                families[name] = family(f"amzmq_{part}_{name}", text, labels=[label])
            families[name].add_metric([value], count)
    return families.values()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"amzmq_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"amzmq_{name}", text, value=value)
