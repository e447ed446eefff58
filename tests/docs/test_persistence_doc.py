"""The page about keeping the clock says what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from .examples import examples, run

PAGE = Path(__file__).parent.parent.parent / "docs" / "persistence.md"


def test_every_example_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = [(example.line, example.printed or "") for example in examples(PAGE)]
    printed = [(example.line, text) for example, text in run(PAGE)]
    assert printed == told
    assert told
