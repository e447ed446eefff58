"""The page about subscribers says what happens."""

from __future__ import annotations

from pathlib import Path

from amzmq.rpc.server.counters import MuxCounters
from tests.docs.examples import examples, run

PAGE = Path(__file__).parents[3] / "docs" / "subscriber.md"


def test_every_example_prints_what_the_page_says() -> None:
    told = [(example.line, example.printed or "") for example in examples(PAGE)]
    assert len(told) == 3
    assert [(example.line, text) for example, text in run(PAGE)] == told


def test_the_counters_of_the_page_are_those_of_a_mux() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| `")][-4:]
    names = {word for line in table for word in line.split("|")[1].replace("`", "").split(", ")}
    assert {name.strip() for name in names} <= set(MuxCounters.__dataclass_fields__)
