"""One remote call after the other, between two processes over TCP loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from bench import sizes
from bench.report import Figure, Ratio, Report, in_turn, summarize
from bench.workers import Worker, check_equal

NAME = "rtt"
# A round trip has two speeds, depending on which cores the four threads get: 5 runs are too few.
RUNS = 9
OURS, RAW, RAW_ASYNCIO = "amzmq", "raw pyzmq", "raw pyzmq on asyncio"
CASE = "one client, sequential"
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Scale:
    """How much one run does."""

    calls: int
    warm_up: int


FULL = Scale(calls=3_000, warm_up=500)
QUICK = Scale(calls=20, warm_up=5)


class Pair(NamedTuple):
    """The two processes; all systems run between the same two."""

    source: Worker
    client: Worker


@contextmanager
def pair() -> Iterator[Pair]:
    """Start the two processes, and end them."""
    with Worker("bench.rtt_pair:play") as source, Worker("bench.rtt_pair:play") as client:
        yield Pair(source, client)
        client.finish()
        source.finish()


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure ours and the limit in turn."""
    scale = QUICK if quick else FULL
    with pair() as two:
        each = [partial(system, scale, two) for system in (ours, raw, raw_asyncio)]
        samples = in_turn(each, runs)
    ratios = [
        Ratio("rtt_p50/raw", _p50(OURS), _p50(RAW)),
        Ratio("rtt_p50/raw_asyncio", _p50(OURS), _p50(RAW_ASYNCIO)),
    ]
    return summarize(NAME, samples, ratios)


def ours(scale: Scale, two: Pair) -> Mapping[Figure, float]:
    """An awaited remote add."""
    return _round(OURS, "bench.rtt_amzmq", scale, two)


def raw(scale: Scale, two: Pair) -> Mapping[Figure, float]:
    """An echo of frames of the same sizes, both sides blocking."""
    return _raw(RAW, "bench.rtt_raw", scale, two)


def raw_asyncio(scale: Scale, two: Pair) -> Mapping[Figure, float]:
    """The same echo, both sides on an event loop."""
    return _raw(RAW_ASYNCIO, "bench.rtt_asyncio", scale, two)


def _raw(system: str, module: str, scale: Scale, two: Pair) -> Mapping[Figure, float]:
    asking, answering = sizes.request_bytes(), sizes.reply_bytes()
    return _round(system, module, scale, two, {"request_bytes": asking}, {"reply_bytes": answering})


def _round(
    system: str,
    module: str,
    scale: Scale,
    two: Pair,
    client_params: Mapping[str, Any] = NONE,
    source_params: Mapping[str, Any] = NONE,
) -> Mapping[Figure, float]:
    source, client = two
    asking = {"calls": scale.calls, "warm_up": scale.warm_up, **client_params}
    source.send(role=f"{module}:source", params=dict(source_params))
    client.send(role=f"{module}:client", params=asking)
    client.send(**source.receive())
    found = client.receive()
    source.send(stop=True)
    check_equal(source.receive(), found, 1)
    client.send(end=True)
    source.send(end=True)
    return {
        _p50(system): found["p50_us"],
        Figure(system, CASE, "p99", "us"): found["p99_us"],
        Figure(system, CASE, "calls", "1/s"): found["calls_per_s"],
    }


def _p50(system: str) -> Figure:
    return Figure(system, CASE, "p50", "us")
