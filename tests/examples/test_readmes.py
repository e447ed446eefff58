from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.programs import EXAMPLES, ROOT

PAGES = sorted([*EXAMPLES.rglob("README.md"), ROOT / "deploy" / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_program_in_a_command_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for script in re.findall(r"(?:python |^\./)(\S+\.(?:py|sh))", block, re.MULTILINE):
            assert (
                any((folder / script).is_file() for folder in (page.parent, ROOT))
                or (page.parent / "kubernetes" / script).is_file()
            ), script


def test_every_example_is_listed_and_has_a_page() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in EXAMPLES.glob("*/*.*") if "__" not in str(path)}
    assert folders == set(re.findall(r"\[(\w+)\]\(\1/README\.md\)", index))
