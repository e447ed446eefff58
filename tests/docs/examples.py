"""Runs the examples of a page: all its ```python blocks in order, in one namespace."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """One block of a page.

    Attributes:
        line: Where its code begins.
        code: The code.
        printed: The ```text block after it; None if another block follows, or none.
    """

    line: int
    code: str
    printed: str | None


def examples(page: Path) -> list[Example]:
    """The ```python blocks of a page, each with what it is said to print."""
    text = page.read_text(encoding="utf-8")
    blocks = list(_FENCE.finditer(text))
    found = []
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "python":
            continue
        is_told = following is not None and following[1] == "text"
        line = text.count("\n", 0, block.start(2)) + 1
        found.append(Example(line, block[2], following[2] if following and is_told else None))
    return found


def run(page: Path) -> Iterator[tuple[Example, str]]:
    """Run the examples of a page; yields each with what it printed."""
    module = ModuleType(f"page_{page.stem}")
    sys.modules[module.__name__] = module  # a dataclass looks for the module it is in
    try:
        for example in examples(page):
            printed = io.StringIO()
            # Tracebacks name the page, and the line in it.
            code = "\n" * (example.line - 1) + example.code
            with contextlib.redirect_stdout(printed):
                exec(compile(code, str(page), "exec", dont_inherit=True), module.__dict__)
            yield example, printed.getvalue()
    finally:
        del sys.modules[module.__name__]
