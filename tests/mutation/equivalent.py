"""The mistakes that are none, as tests/mutation/README.md lists them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).with_name("README.md")

_CODE = re.compile(r"`` (.*?) ``")

Known = tuple[str, str, str, str]
"""Module, function, line, and what is changed in it."""


def known_equivalents() -> dict[Known, str]:
    """All of them, with the reason."""
    known: dict[Known, str] = {}
    module = ""
    for line in README.read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            module = line.removeprefix("### ").strip()
        elif line.startswith("| `` "):
            owner, source, what = (part.replace("\\|", "|") for part in _CODE.findall(line)[:3])
            known[module, "" if owner == "-" else owner, source, what] = line.rstrip("| ")
    return known
