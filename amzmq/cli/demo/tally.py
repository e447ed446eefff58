"""What both ends keep about the payloads: how many, which, in which order; and how late."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping

BUCKETS_PER_OCTAVE = 32
"""Resolution of the latencies: each bucket is 2.2 % wider than the one before."""


class Tally:
    """A running digest over payloads: equal only for the same ones in the same order.

    Attributes:
        count: Payloads so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.sha256()

    def take(self, token: bytes, digest: bytes) -> None:
        """One more payload: its token, and the digest of the file it tells of."""
        self.count += 1
        self._digest.update(token)
        self._digest.update(digest)

    def hexdigest(self) -> str:
        """The digest of all so far."""
        return self._digest.hexdigest()


class Latencies:
    """Durations in logarithmic buckets, so that a follower's report is short however long it ran.

    Args:
        buckets: Another one's `buckets`, to begin with.
    """

    def __init__(self, buckets: Mapping[int, int] | None = None) -> None:
        self.buckets: Counter[int] = Counter(buckets or {})

    @classmethod
    def merged(cls, several: Iterable[Mapping[int, int]]) -> Latencies:
        """All of several in one."""
        merged = cls()
        for buckets in several:
            merged.buckets.update(buckets)
        return merged

    def take(self, nanoseconds: int) -> None:
        """One more duration."""
        self.buckets[int(math.log2(max(nanoseconds, 1)) * BUCKETS_PER_OCTAVE)] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """The duration that `percent` of all do not exceed; None without any."""
        rank = math.ceil(self.buckets.total() * percent / 100)
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                middle: float = 2 ** ((bucket + 0.5) / BUCKETS_PER_OCTAVE)
                return round(middle / 1e6, 3)
        return None
