"""How much happens in a soak."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between happenings.

    Attributes:
        round_s: One round: load and faults, then rest and judgement.
        load_s: Between two changes of the source.
        call_s: Between two calls of a caller.
        stay_s: Between guests coming or going.
        blob_s: Between blobs.
        idle_s: Between faults, at most.
    is_quick: Whether only those faults are drawn that are over in a moment.
    """

    round_s: float
    load_s: float
    call_s: float
    stay_s: float
    blob_s: float
    idle_s: float
    is_quick: bool = False


GENTLE = Pace(45.0, 0.1, 0.5, 1.0, 5.0, 4.0)
"""For hours beside other work."""

BRISK = Pace(1.5, 0.03, 0.1, 0.2, 0.4, 0.2, is_quick=True)
"""For seconds."""
