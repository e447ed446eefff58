"""Judges one round after the other, and remembers of the earlier ones only what counters need."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from tests.oracles.history import AtRest, Gone, Happening, History, from_row
from tests.oracles.promises import breaches

SHOWN = 20
"""Breaches that are kept word by word; the others are counted."""


class Judge:
    """All promises, over any number of rounds.

    Attributes:
        rounds, happenings: How many were looked at.
        broken: How many promises were found broken.
        texts: The first of them.
    """

    def __init__(self) -> None:
        self.rounds = 0
        self.happenings = 0
        self.broken = 0
        self.texts: list[str] = []
        self._before: dict[str, AtRest] = {}

    def look(self, folder: Path, journal: int, gone: list[str]) -> int:
        """Judge the round that was written to a folder, and remove it; how much is broken."""
        history = History(journal, self._rebased(_read(folder)))
        for name in gone:
            history.note(Gone(name))
        found = breaches(history)
        self.rounds += 1
        self.happenings += len(history)
        self.broken += len(found)
        texts = [f"round {self.rounds}: {breach}" for breach in found]
        self.texts += texts[: max(0, SHOWN - len(self.texts))]
        shutil.rmtree(folder)
        return len(found)

    def _rebased(self, happenings: list[Happening]) -> list[Happening]:
        """Counters of followers only ever grow: what they counted in this round alone."""
        before, self._before = self._before, {}
        rebased: list[Happening] = []
        for one in happenings:
            if isinstance(one, AtRest):
                self._before[one.follower] = one
                if (last := before.get(one.follower)) is not None:
                    one = dataclasses.replace(
                        one, lost=one.lost - last.lost, ns_open=one.ns_open - last.ns_open
                    )
            rebased.append(one)
        return rebased


def _read(folder: Path) -> list[Happening]:
    rows: list[tuple[int, list[object]]] = []
    for path in folder.glob("*.history"):
        # The last line of a process that was killed may be half a line.
        lines = path.read_bytes().split(b"\n")[:-1]
        rows += [json.loads(line) for line in lines]
    rows.sort(key=lambda row: row[0])
    return [from_row(row[1]) for row in rows]
