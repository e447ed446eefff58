"""One remote call after the other, between two processes over TCP loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from bench import sizes
from bench.needs import Needs, sort_out
from bench.report import Figure, Ratio, Report, in_turn, summarize
from bench.workers import Worker, check_equal

NAME = "rtt"
# A round trip has two speeds, depending on which cores the four threads get: 5 runs are too few.
RUNS = 9
CASE = "one client, sequential"
P50, P99, CALLS = ("p50", "us"), ("p99", "us"), ("calls", "1/s")


class System(NamedTuple):
    """One way to call.

    Attributes:
        name: In the report.
        module: Where its roles are, `source` and `client`.
        sized: Whether both sides have to be told how many bytes to send.
        needs: What has to be installed.
        own_pair: Whether it gets two processes for itself, because it leaves threads behind.
    """

    name: str
    module: str
    sized: bool = True
    needs: Needs = Needs()
    own_pair: bool = False


OURS = System("amzmq", "bench.rtt_amzmq", sized=False)
RAW = System("raw pyzmq", "bench.rtt_raw")
RAW_ASYNCIO = System("raw pyzmq on asyncio", "bench.rtt_asyncio")
GRPC = System("grpc.aio", "bench.rtt_grpc", needs=Needs(("grpc",)), own_pair=True)
RPYC = System("RPyC", "bench.rtt_rpyc", needs=Needs(("rpyc",)), own_pair=True)
PYRO = System("Pyro5", "bench.rtt_pyro", needs=Needs(("Pyro5", "msgpack")), own_pair=True)
SYSTEMS = OURS, RAW, RAW_ASYNCIO, GRPC, RPYC, PYRO


@dataclass(frozen=True)
class Scale:
    """How much one run does."""

    calls: int
    warm_up: int


FULL = Scale(calls=3_000, warm_up=500)
QUICK = Scale(calls=20, warm_up=5)


class Pair(NamedTuple):
    """The two processes; ours and the limits run between the same two."""

    source: Worker
    client: Worker


@contextmanager
def pair() -> Iterator[Pair]:
    """Start the two processes, and end them."""
    with Worker("bench.rtt_pair:play") as source, Worker("bench.rtt_pair:play") as client:
        yield Pair(source, client)
        client.finish()
        source.finish()


@contextmanager
def pairs(systems: Sequence[System]) -> Iterator[dict[str, Pair]]:
    """The two processes of each system, by its name."""
    with ExitStack() as stack:
        shared = stack.enter_context(pair())
        yield {
            system.name: stack.enter_context(pair()) if system.own_pair else shared
            for system in systems
        }


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure ours, the limits and the peers in turn."""
    scale = QUICK if quick else FULL
    missing = sort_out({system.name: system.needs for system in SYSTEMS})
    systems = [system for system in SYSTEMS if system.name not in missing]
    with pairs(systems) as two:
        each = [partial(measure, system, scale, two[system.name]) for system in systems]
        samples = in_turn(each, runs)
    ratios = [
        Ratio(f"rtt_p50/{short}", _p50(OURS), _p50(theirs))
        for short, theirs in (
            ("raw", RAW),
            ("raw_asyncio", RAW_ASYNCIO),
            ("grpc", GRPC),
            ("rpyc", RPYC),
            ("pyro", PYRO),
        )
    ]
    return summarize(NAME, samples, ratios, missing)


def measure(system: System, scale: Scale, two: Pair) -> Mapping[Figure, float]:
    """One run of one system."""
    asking = {"calls": scale.calls, "warm_up": scale.warm_up}
    found = one_round(system, "client", two, asking)
    return {
        _p50(system): found["p50_us"],
        Figure(system.name, CASE, *P99): found["p99_us"],
        Figure(system.name, CASE, *CALLS): found["calls_per_s"],
    }


def one_round(
    system: System, client_role: str, two: Pair, client_params: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Play both roles once; what the client found.

    Raises:
        BenchError: The two do not agree about what was done, or one failed.
    """
    source, client = two
    asking, answering = dict(client_params), {}
    if system.sized:
        asking["request_bytes"] = sizes.request_bytes()
        answering["reply_bytes"] = sizes.reply_bytes()
    source.send(role=f"{system.module}:source", params=answering)
    client.send(role=f"{system.module}:{client_role}", params=asking)
    client.send(**source.receive())
    found = client.receive()
    source.send(stop=True)
    check_equal(source.receive(), found, 1)
    client.send(end=True)
    source.send(end=True)
    return found


def _p50(system: System) -> Figure:
    return Figure(system.name, CASE, *P50)
