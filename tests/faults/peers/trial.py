"""The faults that make sense for peers, tried on each of them."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.lab import NotHealed
from tests.faults.peers.judge import broken, lost
from tests.faults.peers.lab import PeerLab
from tests.faults.peers.systems import System
from tests.faults.trial import BEFORE_S, FAULTS
from tests.oracles.promises import Promise

SHARED = (
    "black-hole", "black-hole-briefly", "black-hole-of-the-feed", "delay", "jitter", "bandwidth",
    "reset", "reset-of-the-feed", "resets-without-end", "cut-in-mid-frame", "door-shut",
    "feed-shut", "slow-readers", "source-killed", "source-away", "source-restarted",
    "source-flaps", "source-frozen", "source-blocked", "followers-killed", "followers-frozen",
    "followers-blocked",
)  # fmt: skip
"""Faults of our own lab."""

Inflict = Callable[[PeerLab], Awaitable[None]]


async def _nothing(lab: PeerLab) -> None:
    await asyncio.sleep(0.3)


async def _broker_killed(lab: PeerLab) -> None:
    assert lab.broker is not None
    await lab.broker.kill()
    await lab.broker.start()


async def _broker_frozen(lab: PeerLab) -> None:
    assert lab.broker is not None
    lab.broker.freeze()
    await asyncio.sleep(4)
    lab.broker.thaw()


OWN: dict[str, tuple[str, Inflict]] = {
    "no-fault": ("nothing is done", _nothing),
    "broker-killed": ("broker: kill -9, started again", _broker_killed),
    "broker-frozen": ("broker: frozen for 4 s (SIGSTOP)", _broker_frozen),
}
"""Faults that only peers have, and none."""


def faults(system: System) -> list[str]:
    """What is tried on a system."""
    own = [name for name in OWN if system.broker is not None or not name.startswith("broker")]
    return [*own[:1], *SHARED, *own[1:]]


def what(name: str) -> str:
    """A fault in words."""
    return OWN[name][0] if name in OWN else FAULTS[name].what


@dataclass(frozen=True, slots=True)
class PeerOutcome:
    """What came of a fault on a system.

    Attributes:
        system, fault: Their names.
        heal_s: Seconds until both followers were level again, without help; None if never.
        broken: How often each promise was broken.
        lost: Events that followers were owed and never given, nor told of.
        happenings: How many the judges looked at.
        error: What went wrong with the trial itself, or "".
    """

    system: str
    fault: str
    heal_s: float | None
    broken: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    happenings: int = 0
    error: str = ""


async def try_out(system: System, name: str) -> PeerOutcome:
    """Try a fault on a system."""
    heal_s: float | None = None
    found: Counter[Promise] = Counter()
    missing, happenings, error = 0, 0, ""
    sockets = dict(FAULTS[name].sockets) if name in FAULTS else {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            async with PeerLab(Path(folder), system, sockets) as lab:
                await asyncio.sleep(BEFORE_S)
                await lab.healed()
                await (OWN[name][1] if name in OWN else FAULTS[name].inflict)(lab)
                try:
                    heal_s = await lab.healed()
                except NotHealed:
                    heal_s = None  # it is said so; what it shows at rest is still judged
                await lab.settle()
                history, _ = await lab.end()
                happenings = len(history)
                found = broken(history, system.has_one_stream)
                missing = lost(history)
        except Exception as failure:  # reported with the outcome, whatever it is
            error = f"{type(failure).__name__}: {failure}"
    by_name = {promise.value: count for promise, count in found.items()}
    return PeerOutcome(system.name, name, heal_s, by_name, missing, happenings, error)
