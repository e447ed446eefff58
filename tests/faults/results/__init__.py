"""What runs of the lab have found, each part in a file of its own; the page is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"


def save(part: str, found: object) -> None:
    """Keep a part, in place of its last run."""
    (FOLDER / f"{part}.json").write_text(json.dumps(found, indent=1) + "\n")


def load(part: str) -> Any:
    """A part; None if it was never run."""
    path = FOLDER / f"{part}.json"
    return json.loads(path.read_text()) if path.exists() else None


def write_page() -> None:
    """Make the page of what there is."""
    from tests.faults import report  # it needs all the parts' modules, which need this one

    PAGE.write_text(report.page(load("faults"), load("peers"), load("soak")))
