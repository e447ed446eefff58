"""Percentiles of call times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.channel import Channel


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The smallest value that at least `percent` of all do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def report_latencies(channel: Channel, nanoseconds: Sequence[int], states: Any) -> None:
    """Send what a client found."""
    ordered = sorted(nanoseconds)
    channel.send(
        p50_us=percentile(ordered, 50) / 1e3,
        p99_us=percentile(ordered, 99) / 1e3,
        calls_per_s=len(ordered) * 1e9 / sum(ordered),
        states=states,
    )
