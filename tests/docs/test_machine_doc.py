"""The page that teaches the machine says what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .examples import examples, run

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "machine.md"


# Examples may time out a handler on purpose, and say that they raise one.
@pytest.mark.timeout(120)
def test_every_example_prints_what_the_page_says() -> None:
    told = [(example.line, example.printed or "") for example in examples(PAGE)]
    printed = [(example.line, text) for example, text in run(PAGE)]
    assert printed == told


def test_an_example_that_prints_is_followed_by_what_it_prints() -> None:
    for example in examples(PAGE):
        assert ("print(" in example.code) <= (example.printed is not None), example.line


def test_examples_are_small_and_fit_the_page() -> None:
    for example in examples(PAGE):
        lines = example.code.splitlines()
        assert len(lines) <= 35, example.line
        assert max(map(len, lines)) <= 100, example.line


def test_every_link_leads_somewhere() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = link.partition("#")
        assert not path or (PAGE.parent / path).exists(), link
        assert path or anchor in anchors, link
