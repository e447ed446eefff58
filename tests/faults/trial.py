"""One fault tried in a fresh lab, and what is to be said of it."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.faults import of_networks, of_processes, of_relays, of_strangers
from tests.faults.lab import Lab
from tests.faults.programs.source import JOURNAL
from tests.faults.registry import FAULTS, Fault
from tests.oracles.promises import Breach, Promise, breaches

__all__ = ["FAULTS", "Outcome", "try_out"]

MODULES = (of_networks, of_processes, of_relays, of_strangers)
"""They register their faults."""

BEFORE_S = 0.3
"""Of load before the fault."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault.

    Attributes:
        name, what: Of the fault.
        detected: Whether a counter shows it; None if users need not notice it.
        by: The counters that grew.
        heal_s: Seconds until everybody was level again, without help; None if never.
        broken: Promises broken.
        lost: Messages lost in silence.
        left: What the programs left behind.
        happenings: How many the judges looked at.
        error: What went wrong with the trial itself, or "".
    """

    name: str
    what: str
    detected: bool | None
    by: tuple[str, ...]
    heal_s: float | None
    broken: tuple[str, ...]
    lost: int
    left: tuple[str, ...]
    happenings: int
    error: str

    @property
    def is_good(self) -> bool:
        """Whether everything is as promised."""
        flaws = self.broken or self.lost or self.left or self.error
        return not flaws and self.detected is not False and self.heal_s is not None


async def try_out(fault: Fault) -> Outcome:
    """Try a fault."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(
            Path(folder),
            fault.secured,
            dict(fault.sockets),
            fault.journal or JOURNAL,
            fault.relayed,
        )
        heal_s: float | None = None
        grown: Counter[str] = Counter()
        found: list[Breach] = []
        left: list[str] = []
        happenings, error = 0, ""
        try:
            async with lab:
                await asyncio.sleep(BEFORE_S)
                await lab.healed()
                before = await lab.metrics()
                await fault.inflict(lab)
                heal_s = await lab.healed()
                await lab.settle()
                after = await lab.metrics()
                grown.update({name: after[name] - before[name] for name in after})
                history, left = await lab.end()
                happenings, found = len(history), breaches(history)
        except Exception as failure:  # reported with the outcome, whatever it is
            error = f"{type(failure).__name__}: {failure}"
    by = tuple(name for name in fault.shows if grown[name] > 0)
    return Outcome(
        fault.name,
        fault.what,
        bool(by) if fault.shows else None,
        by,
        heal_s,
        tuple(str(breach) for breach in found),
        sum(breach.promise is Promise.LOSSES_COUNTED for breach in found),
        tuple(left),
        happenings,
        error,
    )
