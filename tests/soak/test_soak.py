"""The soak, scaled down to some seconds by the same program; ``make soak`` runs it for an hour."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.programs.shared import Diary
from tests.oracles.history import (
    AtRest,
    Began,
    Changed,
    Clock,
    Follows,
    Happening,
    Ready,
    Said,
    Saw,
    Sight,
    SourceAtRest,
    Took,
)
from tests.soak import report
from tests.soak.__main__ import soak
from tests.soak.gauge import MB, Sample, slope, student
from tests.soak.judge import Judge
from tests.soak.pace import BRISK
from tests.soak.run import ENDING, LEFT_OUT, Record, faults
from tests.soak.verdict import MEMORY_BOUND, as_json, judge

SECONDS = 14.0


@pytest.mark.timeout(180)
async def test_guests_come_and_go_among_faults_and_every_promise_is_kept() -> None:
    record = await soak(SECONDS, 5, BRISK)
    flaws = [flaw for flaw in judge(record).flaws if "let it run longer" not in flaw]
    assert flaws == []
    assert record.rounds >= 2
    assert record.faults.total() >= record.rounds
    assert record.guests > 0
    assert record.blobs["whole"] > 0
    assert record.happenings > 1000


# The line, and what is made of it.


def test_a_straight_line_is_found_in_noise() -> None:
    rng = random.Random(1)
    points = [(60.0 * at, 1000 + 2.0 * 60 * at + rng.gauss(0, 50)) for at in range(40)]
    line = slope(points)
    assert abs(line.per_hour - 7200) <= line.give < 1000
    assert line.seconds == 39 * 60


def test_noise_alone_is_no_growth() -> None:
    within = 0
    for seed in range(200):
        rng = random.Random(seed)
        line = slope([(60.0 * at, rng.gauss(0, 50)) for at in range(20)])
        within += abs(line.per_hour) <= line.give
    assert 180 <= within < 200  # 95 % of them


def test_of_two_points_nothing_is_known() -> None:
    assert slope([(0.0, 1.0), (1.0, 99.0)]).give == math.inf


def test_the_quantiles_are_those_of_the_tables() -> None:
    table = {1: 12.706, 4: 2.776, 10: 2.228, 38: 2.024}
    assert {n: student(n) for n in table} == pytest.approx(table, rel=3e-3)


def grown(rss: float = 0.0, fds: float = 0.0) -> Record:
    """An hour in which the relay has grown by so much from the middle to the end."""
    flat = [Sample(60.0 * at, 50 * MB, 20) for at in range(61)]
    steep = [
        Sample(60.0 * at, int(50 * MB + rss * at / 30), int(20 + fds * at / 30)) for at in range(61)
    ]
    return Record(3600.0, 1, 3600.0, source=flat, relay=steep)


def test_what_stays_flat_is_good() -> None:
    assert judge(grown()).flaws == []


@pytest.mark.parametrize(
    ("flaw", "record"),
    [
        ("relay: grew by", grown(rss=MEMORY_BOUND * 1.5)),
        ("relay: 6 more descriptors", grown(fds=6)),
        ("2 more promises were broken", dataclasses.replace(grown(), broken=2)),
        ("unique: f", dataclasses.replace(grown(), broken=1, texts=["unique: f: twice"])),
        ("1 blobs came", dataclasses.replace(grown(), spoiled=1)),
        ("thread x", dataclasses.replace(grown(), left=["source: thread x"])),
        ("not level", dataclasses.replace(grown(), errors=["NotHealed: not level"])),
        ("it ended after", dataclasses.replace(grown(), asked_s=7200.0)),
        ("only 1 samples", dataclasses.replace(grown(), source=[Sample(3599.0, MB, 9)])),
    ],
)
def test_every_flaw_is_named_and_is_on_the_page(flaw: str, record: Record) -> None:
    assert flaw in "\n".join(judge(record).flaws)
    text = report.section(json.loads(json.dumps(as_json(record))))
    assert flaw in text.partition("What is wrong")[2]


def test_the_page_has_the_figures() -> None:
    record = dataclasses.replace(
        grown(), faults=Counter(reset=3), blobs=Counter(whole=2, killed=1), happenings=12345
    )
    text = report.section(json.loads(json.dumps(as_json(record))))
    assert "| happenings judged | 12,345 |" in text
    assert "2 of 3 whole, 0 spoiled (1 killed)" in text
    assert "What is wrong" not in text


def test_who_is_measured_is_not_killed_late() -> None:
    assert set(ENDING) <= set(faults(is_early=True))
    assert not set(ENDING) & set(faults(is_early=False))
    assert not set(LEFT_OUT) & set(faults(is_early=True))


# The judge of rounds.

START, LATER = Clock(frozenset(), 0, 0), Clock(frozenset({("A", 1)}), 1, 1)


def a_round(folder: Path, lost: int, *more: Happening) -> Path:
    """A round in which one of two payloads never came; the follower has counted so many so far."""
    folder.mkdir()
    diary = Diary(str(folder / "1.history"))
    for one in (
        Changed("l", START),
        Began("l", "e"),
        Follows("f", Sight()),
        Said("s", 1, ""),
        Ready("f", "e", "s", 1),
        Saw("f", "e", "s", 1, START, True),
        Said("s", 2, "p1"),
        Said("s", 3, "p2"),
        Took("f", "e", "p2", START),
        Changed("l", LATER),
        Saw("f", "e", "s", 4, LATER, False),
        *more,
        AtRest("f", "e", "s", 4, LATER, lost, 0),
        SourceAtRest("l", "e", LATER),
    ):
        diary.note(one)
    diary.close()
    return folder


def test_what_was_counted_in_an_earlier_round_does_not_count_again(tmp_path: Path) -> None:
    rounds = Judge()
    assert rounds.look(a_round(tmp_path / "1", 1), 500, []) == 0
    assert rounds.look(a_round(tmp_path / "2", 2), 500, []) == 0
    assert rounds.look(a_round(tmp_path / "3", 2), 500, []) == 1
    assert rounds.broken == 1
    assert "round 3: every loss counted: f" in rounds.texts[0]
    assert list(tmp_path.iterdir()) == []  # nothing is kept of them


def test_a_breach_is_found_in_any_round(tmp_path: Path) -> None:
    rounds = Judge()
    assert rounds.look(a_round(tmp_path / "1", 1), 500, []) == 0
    twice = Took("f", "e", "p2", LATER)
    assert rounds.look(a_round(tmp_path / "2", 2, twice), 500, []) == 1
    assert "unique" in rounds.texts[0]
