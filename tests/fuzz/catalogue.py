"""All targets by name, and the inputs that are kept of each."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import conversations, decoders, readers, texts
from tests.fuzz.target import Target

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FINDINGS = HERE / "findings"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *decoders.TARGETS,
        *readers.TARGETS,
        *texts.TARGETS,
        *conversations.TARGETS,
    )
}


def kept(folder: Path, name: str) -> list[bytes]:
    """The inputs of a target in a folder, in a fixed order."""
    found = folder / name
    return [path.read_bytes() for path in sorted(found.glob("*"))] if found.is_dir() else []
