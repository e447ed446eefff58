"""One source, many replicas in other processes, over TCP loopback."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from amzmq.net import SocketOptions
from bench import brokers, sizes
from bench.fanout_roles import Plan
from bench.latency import percentile
from bench.needs import Needs, sort_out
from bench.report import BenchError, Contestant, Figure, Ratio, Report, in_turn, summarize
from bench.workers import Worker, check_equal

NAME = "fanout"
RUNS = 5
RATIOS_AT = 100
# From here on a turn of all systems takes minutes.
LARGE, RUNS_LARGE = 1_000, 3
# Followers for each second between two heartbeats, from where they are longer than a second.
HEARTBEAT_PER = 100
# A process holds at most as many clients as its ZeroMQ context has room for.
EACH, PROCESSES = 50, 4
# A thousand clients of one source take their time to connect, and to follow a slow one.
CONNECT_S, RUN_S = 180.0, 600.0
NONE: Mapping[str, Any] = MappingProxyType({})

DELIVERIES = "deliveries", "1/s"
PUBLISHER = "publisher CPU an update", "us"
PROCESS = "source process CPU an update", "us"
SINGLE = "publisher CPU a single update", "us"
SINGLE_PROCESS = "source process CPU a single update", "us"
BROKER = "broker CPU an update", "us"
CONVERGED = "burst, until the last has all", "ms"
DELAY_50, DELAY_99 = ("delay p50", "us"), ("delay p99", "us")


@dataclass(frozen=True)
class System:
    """One way to carry updates.

    Attributes:
        name: In the report.
        source: The role that publishes.
        followers: The role that follows.
        source_params: Of the source.
        follower_params: Of the followers.
        sized: Whether the source has to be told how many bytes an update has.
        broker: What has to run between them.
        needs: What has to be installed.
        share: It gets so small a part of the paced updates, because it is slow.
        smallest: Takes part from so many followers on.
    """

    name: str
    source: str
    followers: str
    source_params: Mapping[str, Any] = field(default_factory=dict)
    follower_params: Mapping[str, Any] = field(default_factory=dict)
    sized: bool = False
    broker: Callable[[], AbstractContextManager[brokers.Broker]] | None = None
    needs: Needs = Needs()
    share: int = 1
    smallest: int = 1


def _ours(name: str, turns: bool, smallest: int = 1, shared: bool = False) -> System:
    roles = "bench.fanout_amzmq:source", "bench.fanout_amzmq:followers"
    return System(name, *roles, {"turns": turns}, {"shared": shared}, smallest=smallest)


def _raw(name: str, turns: bool, smallest: int = 1) -> System:
    options = SocketOptions()
    return System(
        name,
        "bench.fanout_raw:source",
        "bench.fanout_raw:followers",
        {"turns": turns, "hwm": options.send_hwm},
        {"hwm": options.receive_hwm},
        sized=True,
        smallest=smallest,
    )


def _peer(name: str, roles: str, needs: Needs, **more: Any) -> System:
    source, followers = (f"bench.fanout_peers:{roles}_{role}" for role in ("source", "followers"))
    return System(name, source, followers, sized=True, needs=needs, share=4, **more)


# Ours beside the limit that does the same: one update behind the other, or one a loop turn.
OURS, RAW = _ours("amzmq", False), _raw("raw pyzmq", False)
OURS_TURNS = _ours("amzmq, a loop turn an update", True, smallest=100)
RAW_ASYNCIO = _raw("raw pyzmq on asyncio", True, smallest=100)
# Not the same work as that of so many programs, hence in no ratio.
OURS_SHARED = _ours("amzmq, replicas of a process share", False, smallest=10, shared=True)
REDIS = _peer("Redis pub/sub", "redis", Needs(("redis",), ("redis-server",)), broker=brokers.redis)
NATS = _peer("NATS", "nats", Needs(("nats",), ("nats-server",)), broker=brokers.nats)
GRPC = _peer("grpc.aio stream", "grpc", Needs(("grpc",)))
SYSTEMS = OURS, RAW, OURS_TURNS, RAW_ASYNCIO, OURS_SHARED, REDIS, NATS, GRPC


@dataclass(frozen=True)
class Scale:
    """What to do for how many followers."""

    plans: Mapping[int, Plan]


FULL = Scale(
    {
        1: Plan(20_000),
        10: Plan(8_000),
        100: Plan(2_000, interval_s=0.01),
        LARGE: Plan(1_000, singles=50, interval_s=0.1, chunk=50),
    }
)
SMALL = Plan(20, burst=20, singles=5, chunk=10)
QUICK = Scale({1: SMALL, 10: SMALL, 100: SMALL})


class Found(NamedTuple):
    """What one round told: the source's figures, and those of the followers' processes."""

    source: Mapping[str, Any]
    followers: Sequence[Mapping[str, Any]]


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure ours, the limits and the peers in turn, for each number of followers."""
    scale = QUICK if quick else FULL
    missing = sort_out({system.name: system.needs for system in SYSTEMS})
    samples: dict[Figure, list[float]] = {}
    for followers, plan in scale.plans.items():
        turns = min(runs, RUNS_LARGE) if followers >= LARGE else runs
        samples |= in_turn(contestants(followers, plan, missing), turns)
    return summarize(NAME, samples, ratios(), missing)


def contestants(followers: int, plan: Plan, missing: Mapping[str, str]) -> list[Contestant]:
    """All that takes turns, those to compare next to each other."""
    return [
        partial(measure, system, followers, plan)
        for system in SYSTEMS
        if system.name not in missing and system.smallest <= followers
    ]


def ratios() -> list[Ratio]:
    """Ours beside the limits and the peers."""
    figures = {
        "publisher_cpu": PUBLISHER,
        "deliveries": DELIVERIES,
        "process_cpu": PROCESS,
        "burst": CONVERGED,
        "delay_p50": DELAY_50,
        "delay_p99": DELAY_99,
    }
    pairs = {
        "raw": (OURS, RAW),
        "raw_asyncio": (OURS_TURNS, RAW_ASYNCIO),
        "redis": (OURS_TURNS, REDIS),
        "nats": (OURS_TURNS, NATS),
        "grpc": (OURS_TURNS, GRPC),
    }
    return [
        Ratio(f"{name}_n{RATIOS_AT}/{other}", _at(mine, metric), _at(theirs, metric))
        for other, (mine, theirs) in pairs.items()
        for name, metric in figures.items()
    ]


def measure(system: System, followers: int, plan: Plan) -> Mapping[Figure, float]:
    """One run of one system."""
    plan = Plan(**{**plan.as_params(), "updates": max(plan.chunk, plan.updates // system.share)})
    source = {"plan": plan.as_params(), **system.source_params}
    following = {"plan": plan.as_params(), **system.follower_params}
    if system.sized:
        source["size"] = sizes.update_bytes()
    if system.name in (RAW.name, RAW_ASYNCIO.name):
        source["followers"] = followers
    if system.source == OURS.source:
        # A thousand clients of a few cores are busy with each other for longer than a beat.
        source["heartbeat"] = heartbeat = max(1.0, followers / HEARTBEAT_PER)
        following["heartbeat"] = heartbeat
    with ExitStack() as stack:
        if system.broker is not None:
            addr, pid = stack.enter_context(system.broker())
            source |= {"broker": addr, "broker_pid": pid}
            following |= {"broker": addr}
        found = one_round((system.source, system.followers), followers, source, following)
    case = case_of(followers)
    return {
        Figure(system.name, case, *metric): value
        for metric, value in figures_of(found, followers, plan).items()
    }


def figures_of(found: Found, followers: int, plan: Plan) -> dict[tuple[str, str], float]:
    """What the times of both sides come to."""
    source, groups = found
    ended = max(group["burst_ended"] for group in groups)
    delays = sorted(
        seen - sent
        for group in groups
        for replica in group["seen"]
        for seen, sent in zip(replica, source["sent"], strict=True)
    )
    values = {
        DELIVERIES: followers * plan.updates / source["wall_s"],
        PUBLISHER: source["thread_us"],
        PROCESS: source["process_us"],
        CONVERGED: (ended - source["burst_began"]) / 1e6,
        DELAY_50: percentile(delays, 50) / 1e3,
        DELAY_99: percentile(delays, 99) / 1e3,
        SINGLE: source["single_thread_us"],
        SINGLE_PROCESS: source["single_process_us"],
    }
    return values | ({BROKER: source["broker_us"]} if "broker_us" in source else {})


def one_round(
    roles: tuple[str, str],
    followers: int,
    source_params: Mapping[str, Any] = NONE,
    follower_params: Mapping[str, Any] = NONE,
) -> Found:
    """Start all processes, let them run, compare the states they end with.

    Raises:
        BenchError: A replica differs, or a process failed.
    """
    processes = min(PROCESSES, max(1, followers // EACH))
    shares = [len(range(at, followers, processes)) for at in range(processes)]
    with ExitStack() as stack:
        pipes = [pipe(stack) for _ in shares]
        readers = tuple(reader for reader, _ in pipes)
        source = stack.enter_context(
            Worker(roles[0], pass_fds=readers, fds=readers, **source_params)
        )
        groups = [
            stack.enter_context(
                Worker(
                    roles[1],
                    pass_fds=(writer,),
                    fd=writer,
                    followers=share,
                    first=sum(shares[:at]),
                    **follower_params,
                )
            )
            for at, (share, (_, writer)) in enumerate(zip(shares, pipes, strict=True))
        ]
        told = source.receive()
        for group in groups:
            group.send(**told)
        for group in groups:
            group.receive(CONNECT_S)
        source.send(go=True)
        found = Found(_told(source, groups), [group.receive() for group in groups])
        states = [state for group in found.followers for state in group["states"]]
        check_equal(dict(found.source), {"states": states}, followers)
        for worker in (*groups, source):
            worker.finish()
    return found


def _told(source: Worker, groups: Sequence[Worker]) -> Mapping[str, Any]:
    """What the source found; if it fails, followers may know better why."""
    try:
        return source.receive(RUN_S)
    except BenchError as err:
        complaints = [str(err), *filter(None, (group.complaint() for group in groups))]
        raise BenchError("\n".join(complaints)) from None


def pipe(stack: ExitStack) -> tuple[int, int]:
    """Both ends of a pipe, closed with the stack."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    return reader, writer


def case_of(followers: int) -> str:
    """The name of the case of so many followers."""
    return f"{followers:,} follower" + ("s" if followers > 1 else "")


def _at(system: System, metric: tuple[str, str]) -> Figure:
    return Figure(system.name, case_of(RATIOS_AT), *metric)
