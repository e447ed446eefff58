"""The quick ones of the faults; ``python -m tests.faults`` tries all."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.faults import report
from tests.faults.trial import FAULTS, Outcome, try_out

QUICK = [fault.name for fault in FAULTS.values() if fault.quick]

GOOD = Outcome("name", "what", True, ("gaps",), 0.25, (), 0, (), 10, "")


@pytest.mark.parametrize("name", QUICK)
async def test_a_fault_is_survived(name: str) -> None:
    outcome = await try_out(FAULTS[name])
    assert outcome.is_good, outcome


def test_there_are_many_kinds_of_faults() -> None:
    assert len(FAULTS) >= 30
    assert len({fault.what for fault in FAULTS.values()}) == len(FAULTS)


@pytest.mark.parametrize(
    "flaw",
    [
        {"detected": False, "by": ()},
        {"heal_s": None},
        {"broken": ("unique: f1: twice",)},
        {"lost": 1},
        {"left": ("source: thread x",)},
        {"error": "Ended: source"},
    ],
)
def test_every_flaw_counts_and_is_on_the_page(flaw: dict[str, object]) -> None:
    bad = dataclasses.replace(GOOD, **flaw)  # type: ignore[arg-type]
    assert not bad.is_good
    assert _page(bad).partition("| --- |")[2] != _page(GOOD).partition("| --- |")[2]
    assert "0 of them survived" in _page(bad)


def test_the_page_shows_what_was_good() -> None:
    assert GOOD.is_good
    text = _page(GOOD)
    assert "| name | what | gaps | 0.25 | 0 | 0 | 0 |" in text
    assert "1 faults, 1 of them survived" in text
    assert "What is wrong" not in text
    assert "Side by side\n" not in text  # which was not run


def _page(outcome: Outcome) -> str:
    """By way of the file."""
    return report.page(json.loads(json.dumps(report.found([outcome]))), None, None)
