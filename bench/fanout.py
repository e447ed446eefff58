"""One source, many replicas in one other process, over TCP loopback."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from amzmq.net import SocketOptions
from bench import sizes
from bench.pace import CHUNK
from bench.report import BenchError, Contestant, Figure, Ratio, Report, in_turn, summarize
from bench.workers import Worker, check_equal

NAME = "fanout"
RUNS = 5
RATIOS_AT = 100
# Each beside the limit that does the same: one update behind the other, or one a loop turn.
OURS, RAW = "amzmq", "raw pyzmq"
OURS_TURNS, RAW_ASYNCIO = "amzmq, a loop turn an update", "raw pyzmq on asyncio"


@dataclass(frozen=True)
class Scale:
    """How many updates for how many followers."""

    updates: Mapping[int, int]


FULL = Scale({1: 20_000, 10: 8_000, 100: 2_000})
QUICK = Scale({1: CHUNK, 10: CHUNK, 100: CHUNK})


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure ours and the limit in turn, for each number of followers."""
    samples = in_turn(contestants(QUICK if quick else FULL), runs)
    figures = {
        "publisher_cpu": _cpu,
        "deliveries": _deliveries,
        "process_cpu": _process_cpu,
    }
    ratios = [
        Ratio(f"{name}_n{RATIOS_AT}/{other}", figure(mine, RATIOS_AT), figure(theirs, RATIOS_AT))
        for other, mine, theirs in (
            ("raw", OURS, RAW),
            ("raw_asyncio", OURS_TURNS, RAW_ASYNCIO),
        )
        for name, figure in figures.items()
    ]
    return summarize(NAME, samples, ratios)


def contestants(scale: Scale) -> list[Contestant]:
    """All that takes turns, those to compare next to each other."""
    chosen: list[Contestant] = []
    for followers, updates in scale.updates.items():
        systems = [ours, raw]
        if followers == RATIOS_AT:
            systems += [ours_turns, raw_asyncio]
        chosen += [partial(system, followers, updates) for system in systems]
    return chosen


def ours(followers: int, updates: int) -> Mapping[Figure, float]:
    """Mutations of a machine, each flushed at once, followed by replicas."""
    return _ours(OURS, False, followers, updates)


def ours_turns(followers: int, updates: int) -> Mapping[Figure, float]:
    """The same with one mutation a loop turn, whose end flushes it."""
    return _ours(OURS_TURNS, True, followers, updates)


def _ours(system: str, turns: bool, followers: int, updates: int) -> Mapping[Figure, float]:
    roles = "bench.fanout_amzmq:source", "bench.fanout_amzmq:followers"
    return one_round(system, roles, followers, updates, source_params={"turns": turns})


def raw(followers: int, updates: int) -> Mapping[Figure, float]:
    """Frames of the same size, sent one behind the other, received and counted."""
    return _raw(RAW, "source", followers, updates)


def raw_asyncio(followers: int, updates: int) -> Mapping[Figure, float]:
    """The same with one frame a loop turn."""
    return _raw(RAW_ASYNCIO, "source_asyncio", followers, updates)


def _raw(system: str, source: str, followers: int, updates: int) -> Mapping[Figure, float]:
    options = SocketOptions()
    sending = {"followers": followers, "size": sizes.update_bytes(), "hwm": options.send_hwm}
    return one_round(
        system,
        (f"bench.fanout_raw:{source}", "bench.fanout_raw:followers"),
        followers,
        updates,
        source_params=sending,
        follower_params={"hwm": options.receive_hwm},
    )


def one_round(
    system: str,
    roles: tuple[str, str],
    followers: int,
    updates: int,
    *,
    source_params: Mapping[str, Any] = MappingProxyType({}),
    follower_params: Mapping[str, Any] = MappingProxyType({}),
) -> Mapping[Figure, float]:
    """Start both processes, let them run, compare the states they end with.

    Raises:
        BenchError: A replica differs, or a process failed.
    """
    if updates % CHUNK:
        raise BenchError(f"{updates} updates are no multiple of {CHUNK}")
    reader, writer = os.pipe()
    try:
        with (
            Worker(
                roles[0], pass_fds=(reader,), fd=reader, updates=updates, **source_params
            ) as source,
            Worker(
                roles[1],
                pass_fds=(writer,),
                fd=writer,
                followers=followers,
                updates=updates,
                **follower_params,
            ) as follower,
        ):
            follower.send(**source.receive())
            follower.receive()
            source.send(go=True)
            found = source.receive()
            check_equal(found, follower.receive(), followers)
            follower.finish()
            source.finish()
    finally:
        os.close(reader)
        os.close(writer)
    return {
        _deliveries(system, followers): followers * updates / found["wall_s"],
        _cpu(system, followers): found["thread_us"],
        _process_cpu(system, followers): found["process_us"],
    }


def _deliveries(system: str, followers: int) -> Figure:
    return Figure(system, _case(followers), "deliveries", "1/s")


def _cpu(system: str, followers: int) -> Figure:
    return Figure(system, _case(followers), "publisher CPU an update", "us")


def _process_cpu(system: str, followers: int) -> Figure:
    return Figure(system, _case(followers), "source process CPU an update", "us")


def _case(followers: int) -> str:
    return f"{followers} follower" + ("s" if followers > 1 else "")
