"""The soak itself: rounds of load and faults, each judged, until the time is up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from amzmq.errors import AmzmqError
from tests.faults.lab import NotHealed
from tests.faults.process import Ended, Program
from tests.faults.trial import FAULTS
from tests.soak.gauge import Sample, cpu_s
from tests.soak.judge import Judge
from tests.soak.lab import SoakLab
from tests.soak.pace import Pace

ENDING = (
    "source-killed", "source-away", "source-restarted", "source-flaps", "relay-killed",
    "relay-restarted",
)  # fmt: skip
"""Faults that end the processes whose memory is measured: only while it is early."""

LEFT_OUT = (
    "identity-taken",  # whoever takes a name takes what was sent to it
    "schema-changed-across-a-restart", "schema-grows",  # states only ever grow
    "burst-beyond-the-mark", "source-killed-in-a-burst", "source-short-of-memory",
    "cancel-storm",  # too much for a gentle hour
    "source-behind-a-relay-killed",  # as any source that is killed
)  # fmt: skip

EARLY = 0.25
"""Share of the time after which the source and the relay live on, to the end."""

SMALLEST, LARGEST = 10_000, 1_000_000
"""Bytes of a blob."""

OFFERING_S, POLL_S = 3.0, 0.1
"""Until who is to take a blob has to be here, and between two looks."""


def faults(is_early: bool, is_quick: bool = False) -> list[str]:
    """The faults of the lab that a soak may draw."""
    if is_quick:
        quick = [name for name, fault in FAULTS.items() if fault.quick and name not in LEFT_OUT]
        return [name for name in quick if is_early or name not in ENDING]
    fit = [
        fault.name
        for fault in FAULTS.values()
        if not (fault.secured or fault.sockets or fault.relayed) and fault.name not in LEFT_OUT
    ]
    fit = [name for name in fit if name not in ENDING]
    return [*fit, "relay-frozen", "guests-killed", *(ENDING if is_early else ())]


@dataclass(slots=True)
class Record:
    """What came of a soak.

    Attributes:
        asked_s: How long it was to be.
        seed: Of everything that is random.
        elapsed_s: How long it was.
        faults: How often each was inflicted.
        guests: Clients and subscribers that came.
        blobs: How blobs ended: "whole", or the name of the error.
        spoiled: Blobs that came, but not as they were sent.
        source, relay: What they held when everything was at rest, since they were last replaced.
        errors: What went wrong with the soak itself, or did not heal.
        left: What the programs left behind.
        cpu_s: CPU time of all processes.
        judge_rss: Bytes of memory that the judge held, round by round.
        rounds, happenings, broken, texts: As of `Judge`.
    """

    asked_s: float
    seed: int
    elapsed_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    guests: int = 0
    blobs: Counter[str] = field(default_factory=Counter)
    spoiled: int = 0
    source: list[Sample] = field(default_factory=list)
    relay: list[Sample] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    judge_rss: list[int] = field(default_factory=list)
    rounds: int = 0
    happenings: int = 0
    broken: int = 0
    texts: list[str] = field(default_factory=list)


class Soak:
    """One soak.

    Args:
        lab: Everything that runs.
        record: Filled as it goes on.
        pace: How much happens.
        told: Called behind each round.
    """

    def __init__(
        self, lab: SoakLab, record: Record, pace: Pace, told: Callable[[Record], None]
    ) -> None:
        self._lab = lab
        self._record = record
        self._pace = pace
        self._told = told
        self._judge = Judge()
        self._random = random.Random(record.seed)
        self._started = time.monotonic()
        self._cpu: dict[int, float] = {}
        self._pids: dict[str, int] = {}
        self._blobs = 0

    @property
    def _now(self) -> float:
        return time.monotonic() - self._started

    async def run(self) -> None:
        """Until the time is up, or something does not heal any more."""
        try:
            async with asyncio.TaskGroup() as judging:
                while self._now < self._record.asked_s:
                    await self._round()
                    done = await self._lab.turn()
                    await self._lab.guests.ask("empty")
                    await self._measure()
                    judging.create_task(self._look(*done))
                    await self._lab.resume()
            await self._lab.rest()
            self._record.left = await self._lab.end_all()
        except* (NotHealed, Ended) as failures:
            self._record.errors += [_named(error) for error in failures.exceptions]
        self._tell()

    async def _round(self) -> None:
        until = min(self._now + self._pace.round_s, self._record.asked_s)
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            blobs = group.create_task(self._send_blobs(enough))
            await self._inflict_until(until)
            enough.set()
        await self._lab.healed()
        for name, digest in blobs.result().items():
            self._note_blob(digest, await self._lab.guests.ask("blob_of", name))
        await self._lab.source.ask("close_blobs")
        await self._lab.settle()

    async def _look(self, folder: Path, journal: int, gone: list[str]) -> None:
        """Judge a round while the next one runs."""
        await asyncio.to_thread(self._judge.look, folder, journal, gone)
        self._tell()

    def _tell(self) -> None:
        judge, record = self._judge, self._record
        record.rounds, record.happenings = judge.rounds, judge.happenings
        record.broken, record.texts = judge.broken, judge.texts
        record.elapsed_s, record.guests = self._now, self._lab.guests_seen
        self._told(record)

    async def _measure(self) -> None:
        """Everything is at rest, and no guest is here."""
        lab, record = self._lab, self._record
        assert lab.relay is not None
        for name, program, samples in (
            ("source", lab.source, record.source),
            ("relay", lab.relay, record.relay),
        ):
            if self._pids.get(name) != program.process.pid:
                samples.clear()  # another one is in its place
            self._pids[name] = program.process.pid
            samples.append(await self._sample(program))
        own = os.getpid()
        record.judge_rss.append(Sample.of(own, self._now).rss)
        for pid in (own, *(program.process.pid for program in lab.programs)):
            self._cpu[pid] = cpu_s(pid)
        record.cpu_s = sum(self._cpu.values())

    async def _sample(self, program: Program) -> Sample:
        """What it holds, and what malloc kept of a fault's burst, as one long-lived block may."""
        pid = program.process.pid
        before = Sample.of(pid, self._now)
        await program.ask("give_back")
        after = Sample.of(pid, self._now)
        return replace(after, kept=max(0, before.rss - after.rss))

    # Faults.

    async def _inflict_until(self, until: float) -> None:
        # Some leave followers of fixed names: each once a round.
        deck = faults(self._now < self._record.asked_s * EARLY, self._pace.is_quick)
        self._random.shuffle(deck)
        while self._now < until and deck:
            await asyncio.sleep(self._random.uniform(0, self._pace.idle_s))
            name = deck.pop()
            try:
                await self._inflict(name)()
            except (AssertionError, OSError, AmzmqError) as error:
                self._record.errors.append(f"{name}: {_named(error)}")
            await self._lab.healed()
            self._record.faults[name] += 1

    def _inflict(self, name: str) -> Callable[[], Awaitable[None]]:
        if name == "guests-killed":
            return self._lab.replace_guests
        inflict = FAULTS[name].inflict
        return lambda: inflict(self._lab)

    # Blobs.

    async def _send_blobs(self, enough: asyncio.Event) -> dict[str, str]:
        """Offer some; the digests by takers."""
        sent: dict[str, str] = {}
        while not enough.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.blob_s):
                    await enough.wait()
                    continue
            self._blobs += 1
            taker = f"blob{self._blobs}"
            with contextlib.suppress(Ended):  # killed as a fault; another one is coming
                if (digest := await self._send_blob(taker)) is not None:
                    sent[taker] = digest
        return sent

    async def _send_blob(self, taker: str) -> str | None:
        size = self._random.randrange(SMALLEST, LARGEST)
        await self._lab.guests.ask("take_blob", taker)
        until = self._now + OFFERING_S
        while self._now < until:
            digest = await self._lab.source.ask("offer_blob", taker, size, self._blobs)
            if digest is not None:
                return str(digest)
            await asyncio.sleep(POLL_S)
        await self._lab.guests.ask("dismiss", taker)
        self._record.blobs["nobody came"] += 1
        return None

    def _note_blob(self, sent: str, taken: str) -> None:
        if taken == sent:
            self._record.blobs["whole"] += 1
        elif len(taken) == len(sent):
            self._record.spoiled += 1
        else:
            self._record.blobs[taken] += 1


def _named(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_named, error.exceptions))
    return f"{type(error).__name__}: {error}"
