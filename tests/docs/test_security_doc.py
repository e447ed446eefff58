"""The page about security says what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from .examples import examples, run

PAGE = Path(__file__).parent.parent.parent / "docs" / "security.md"


def test_every_example_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clients").mkdir()
    told = [(example.line, example.printed or "") for example in examples(PAGE)]
    printed = [(example.line, text) for example, text in run(PAGE)]
    assert printed == told
