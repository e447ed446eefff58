"""What each operation puts on the wire, ours and gRPC's; no time is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from bench.needs import Needs, sort_out
from bench.report import Figure, Ratio, Report, in_turn, summarize
from bench.workers import Worker

NAME = "bytes"
RUNS = 3
OURS, GRPC = "amzmq", "grpc.aio"
ROLES = {OURS: "bench.bytes_amzmq:play", GRPC: "bench.bytes_grpc:play"}
NEEDS = {GRPC: Needs(("grpc",))}
CONNECT, ADD, LOOP = "connect", "add", "subscribe, get, process"
SENT, RECEIVED, TOTAL, CALLS = "sent", "received", "both ways", "calls"


@dataclass(frozen=True)
class Scale:
    """How often each operation is done, and for how long heartbeats are counted."""

    times: int
    beats_s: float


FULL = Scale(200, 3.0)
QUICK = Scale(5, 0.25)


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Count ours and the peer's."""
    scale = QUICK if quick else FULL
    missing = sort_out(NEEDS)
    systems = [system for system in ROLES if system not in missing]
    samples = in_turn([partial(measure, system, scale) for system in systems], runs)
    ratios = [
        Ratio(f"{name}/grpc", _total(OURS, case), _total(GRPC, case))
        for name, case in (("connect", CONNECT), ("add", ADD), ("loop", LOOP))
    ]
    return summarize(NAME, samples, ratios, missing)


def measure(system: str, scale: Scale) -> Mapping[Figure, float]:
    """All operations of one system."""
    with Worker(ROLES[system], times=scale.times, beats_s=scale.beats_s) as worker:
        found = worker.receive()
        worker.finish()
    figures = {}
    for case, counted in found["operations"].items():
        sent, received = counted["sent"], counted["received"]
        figures[_total(system, case)] = sent + received
        figures[Figure(system, case, SENT, "B")] = sent
        figures[Figure(system, case, RECEIVED, "B")] = received
        if "calls" in counted:
            figures[Figure(system, case, CALLS, "")] = counted["calls"]
    return figures


def _total(system: str, case: str) -> Figure:
    return Figure(system, case, TOTAL, "B")
