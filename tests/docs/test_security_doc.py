"""The page about security says what happens."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from amzmq.rpc import Limits

from .examples import examples, run

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "security.md"


def test_every_example_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clients").mkdir()
    told = [(example.line, example.printed or "") for example in examples(PAGE)]
    printed = [(example.line, text) for example, text in run(PAGE)]
    assert printed == told


def test_the_page_lists_every_limit_with_its_default() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| ([\w., ]+) \|", PAGE.read_text(), re.MULTILINE))
    default = Limits()
    journal = default.journal
    kept = f"{journal.messages} messages, {journal.size_bytes} bytes"
    for each in fields(Limits):
        value = kept if each.name == "journal" else str(getattr(default, each.name))
        assert told[each.name] == value


def test_every_test_that_the_threats_name_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())
    assert len(named) > 15
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        defined = {
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in defined, f"{path}::{name}"
