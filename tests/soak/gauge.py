"""What processes hold, and the line through it."""

from __future__ import annotations

import math
import os
import resource
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MB = 2**20
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment.

    Attributes:
        at_s: Since the soak began.
        rss: Bytes of memory.
        fds: Open descriptors.
        kept: Bytes of memory that were not in use any more, but that malloc had kept.
    """

    at_s: float
    rss: int
    fds: int
    kept: int = 0

    @classmethod
    def of(cls, pid: int, at_s: float) -> Sample:
        """A process of this host, as it is now."""
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        fds = len(os.listdir(f"/proc/{pid}/fd"))
        return cls(at_s, pages * resource.getpagesize(), fds)


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through samples, by least squares.

    Attributes:
        per_hour: How steep it is.
        give: Half the width of its 95 % confidence interval.
        seconds: Between the first sample and the last.
        samples: How many.
    """

    per_hour: float
    give: float
    seconds: float
    samples: int

    @property
    def least_growth(self) -> float:
        """What has been added from the first sample to the last, at the very least."""
        return (self.per_hour - self.give) * self.seconds / 3600


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The line through (second, value); of fewer than three points nothing is known."""
    count = len(points)
    if count < 3:
        return Slope(0.0, math.inf, 0.0, count)
    times, values = [at for at, _ in points], [value for _, value in points]
    fit = statistics.linear_regression(times, values)
    rest = sum((y - fit.intercept - fit.slope * x) ** 2 for x, y in points)
    middle = statistics.fmean(times)
    spread = sum((x - middle) ** 2 for x in times)
    error = math.sqrt(rest / (count - 2) / spread)
    give = student(count - 2) * error
    return Slope(fit.slope * 3600, give * 3600, times[-1] - times[0], count)


def student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's distribution (Cornish-Fisher, exact for 1 to 3)."""
    if freedom <= 3:
        return (12.706, 4.303, 3.182)[freedom - 1]
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def second_half(samples: Sequence[Sample], until_s: float) -> list[Sample]:
    """Those behind the middle."""
    return [sample for sample in samples if sample.at_s >= until_s / 2]
