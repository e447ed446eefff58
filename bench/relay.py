"""What a relay between source and follower costs: verbatim, encoded anew, and the raw limit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from amzmq.net import SocketOptions
from bench import sizes
from bench.fanout import CONNECT_S, DELAY_50, DELAY_99, DELIVERIES, RUN_S, Found, figures_of, pipe
from bench.fanout_roles import Plan
from bench.report import Figure, Ratio, Report, in_turn, summarize
from bench.workers import Worker, check_equal

NAME = "relay"
RUNS = 5

FORWARDED = "updates forwarded", "1/s"
HOP_CPU = "hop CPU an update", "us"
HOP_SINGLE = "hop CPU a single update", "us"
ADDED_50, ADDED_99 = ("added delay p50", "us"), ("added delay p99", "us")


@dataclass(frozen=True)
class System:
    """One kind of chain.

    Attributes:
        name: In the report.
        source: The role that publishes.
        hop: The role that hands on.
        end: The role that follows.
        hops: How many there are between source and end, case by case; 0 is what the added
            delay is counted from.
        source_params, hop_params, end_params: Of the roles.
        sized: Whether the source has to be told how many bytes an update has.
    """

    name: str
    source: str
    hop: str
    end: str
    hops: tuple[int, ...] = (0, 1)
    source_params: Mapping[str, Any] = field(default_factory=dict)
    hop_params: Mapping[str, Any] = field(default_factory=dict)
    end_params: Mapping[str, Any] = field(default_factory=dict)
    sized: bool = False


def _raw(name: str, hop: str, hops: tuple[int, ...]) -> System:
    options = SocketOptions()
    return System(
        name,
        "bench.fanout_raw:source",
        f"bench.relay_raw:{hop}",
        "bench.fanout_raw:followers",
        hops,
        {"turns": False, "hwm": options.send_hwm, "followers": 1},
        {"hwm": options.send_hwm},
        {"hwm": options.receive_hwm},
        sized=True,
    )


def _to_replica(name: str, views: int) -> System:
    """With a replica at the end: what a view encodes anew can only be counted there."""
    roles = "bench.relay_amzmq:source", "bench.relay_amzmq:hop", "bench.fanout_amzmq:followers"
    return System(
        name,
        *roles,
        source_params={"end": "states", "views": views},
        end_params={"views": views},
    )


OURS = System(
    "amzmq",
    "bench.relay_amzmq:source",
    "bench.relay_amzmq:hop",
    "bench.relay_amzmq:receivers",
    (0, 1, 2),
    {"end": "frames"},
    end_params={"hwm": SocketOptions().receive_hwm},
)
RAW = _raw("raw pyzmq", "hop", (0, 1, 2))
RAW_BOTH_WAYS = _raw("raw pyzmq, both ways", "hop_both_ways", (0, 1))
RAW_ASYNCIO = _raw("raw pyzmq on asyncio", "hop_asyncio", (0, 1))
REPLICA = _to_replica("amzmq, to a replica", views=0)
VIEW = _to_replica("amzmq, a view to a replica", views=1)
SYSTEMS = OURS, RAW, RAW_BOTH_WAYS, RAW_ASYNCIO, REPLICA, VIEW

FULL = Plan(20_000, singles=500)
QUICK = Plan(20, burst=20, singles=5, chunk=10)


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure ours and the limits in turn."""
    plan = QUICK if quick else FULL
    # The added delay is a difference, so both of its sides belong into the same turn.
    samples = in_turn([lambda: turn(plan)], runs)
    return summarize(NAME, samples, ratios())


def ratios() -> list[Ratio]:
    """A hop of ours beside the limits, and what is encoded anew beside what is not."""
    figures = {
        "forwarded": FORWARDED,
        "hop_cpu": HOP_CPU,
        "added_p50": ADDED_50,
    }
    pairs = {
        "raw": (OURS, RAW),
        "raw_both_ways": (OURS, RAW_BOTH_WAYS),
        "raw_asyncio": (OURS, RAW_ASYNCIO),
        "verbatim": (VIEW, REPLICA),
    }
    return [
        Ratio(
            f"{'view_' if mine is VIEW else ''}{name}/{other}",
            Figure(mine.name, case_of(1), *metric),
            Figure(theirs.name, case_of(1), *metric),
        )
        for other, (mine, theirs) in pairs.items()
        for name, metric in figures.items()
    ]


def turn(plan: Plan) -> Mapping[Figure, float]:
    """All systems with all their hops, one behind the other."""
    figures: dict[Figure, float] = {}
    # What is compared stands next to each other: all without a hop, all with one, and so on.
    for hops in sorted({hops for system in SYSTEMS for hops in system.hops}):
        for system in SYSTEMS:
            if hops in system.hops:
                figures |= measure(system, hops, plan)
    return figures | added(figures)


def added(figures: Mapping[Figure, float]) -> dict[Figure, float]:
    """The delays of a turn, less those of the same system without a hop."""
    found = {}
    for figure, value in figures.items():
        for delay, more in ((DELAY_50, ADDED_50), (DELAY_99, ADDED_99)):
            if (figure.metric, figure.unit) == delay and figure.case != case_of(0):
                direct = figures[Figure(figure.system, case_of(0), *delay)]
                found[Figure(figure.system, figure.case, *more)] = value - direct
    return found


def measure(system: System, hops: int, plan: Plan) -> Mapping[Figure, float]:
    """One run of one chain."""
    found = one_chain(system, hops, plan)
    values = figures_of(found, 1, plan)
    figures = {
        FORWARDED: values[DELIVERIES],
        DELAY_50: values[DELAY_50],
        DELAY_99: values[DELAY_99],
    }
    if hops:
        figures[HOP_CPU] = found.source["broker_us"]
        figures[HOP_SINGLE] = found.source["single_broker_us"]
    return {Figure(system.name, case_of(hops), *at): value for at, value in figures.items()}


def one_chain(system: System, hops: int, plan: Plan) -> Found:
    """Start all processes from the source on, let them run, compare what both ends have.

    Raises:
        BenchError: The follower differs, or a process failed.
    """
    params: dict[str, Any] = {"plan": plan.as_params()}
    size = {"size": sizes.update_bytes()} if system.sized else {}
    with ExitStack() as stack:
        reader, writer = pipe(stack)
        source = stack.enter_context(
            Worker(
                system.source, pass_fds=(reader,), fds=[reader],
                **params, **size, **system.source_params,
            )
        )  # fmt: skip
        nodes = [
            stack.enter_context(Worker(system.hop, name=f"hop{at}", **system.hop_params))
            for at in range(1, hops + 1)
        ]
        end = stack.enter_context(
            Worker(
                system.end, pass_fds=(writer,), fd=writer, followers=1,
                **params, **system.end_params,
            )
        )  # fmt: skip
        told = source.receive()
        for node in nodes:
            node.send(**told)
            told = node.receive(CONNECT_S)
        end.send(**told)
        end.receive(CONNECT_S)
        source.send(go=True, hop=nodes[0].pid if nodes else 0)
        found = Found(source.receive(RUN_S), [end.receive()])
        check_equal(dict(found.source), dict(found.followers[0]), 1)
        for worker in (end, *reversed(nodes), source):
            worker.finish()
    return found


def case_of(hops: int) -> str:
    """The name of the case of so many hops."""
    return f"{hops} hop" + ("" if hops == 1 else "s")
