"""The page about programs without asyncio says what happens."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.examples import examples, run

PAGE = Path(__file__).parents[2] / "docs" / "blocking.md"


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


def test_every_link_leads_to_a_heading() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for link in re.findall(r"\]\(#([^)]+)\)", text):
        assert link in anchors, link
