"""The annotations as a user's type checker sees them: mypy is run once, over two files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REVEALED = HERE / "revealed.py"
PROGRAM = HERE / "program.py"

_REVEAL = re.compile(r"^\s*reveal_type\(.*\)  # (.+)$")
_MESSAGE = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): (?P<kind>\w+): (?P<text>.*)$")
_NOTE = re.compile(r'^Revealed type is "(.*)"$')


@pytest.fixture(scope="module")
def messages() -> list[tuple[str, int, str, str]]:
    """What mypy says: file name, line, kind and text of each message."""
    # With the settings and the cache that the repository's own check has: it is quick then.
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--no-error-summary"]
    done = subprocess.run(
        [*command, "--no-color-output", str(REVEALED), str(PROGRAM)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert not done.stderr, done.stderr
    found = [_MESSAGE.match(line) for line in done.stdout.splitlines()]
    return [
        (Path(match["file"]).name, int(match["line"]), match["kind"], match["text"])
        for match in found
        if match is not None
    ]


def plain(name: str) -> str:
    """A type's name without modules: mypy's versions differ in how they write those."""
    return re.sub(r"\b(?:\w+\.)+(?=\w)|\*", "", name)


def test_every_public_name_has_the_type_that_its_line_says(
    messages: list[tuple[str, int, str, str]],
) -> None:
    lines = REVEALED.read_text().splitlines()
    expected = {
        number: match[1]
        for number, line in enumerate(lines, 1)
        if (match := _REVEAL.match(line)) is not None
    }
    revealed = {
        line: plain(match[1])
        for file, line, _, text in messages
        if file == REVEALED.name and (match := _NOTE.match(text)) is not None
    }
    assert len(expected) == sum("reveal_type(" in line for line in lines)
    assert revealed == expected


@pytest.mark.parametrize("program", [PROGRAM, REVEALED], ids=lambda path: path.name)
def test_a_program_of_a_user_is_clean_under_strict(
    program: Path, messages: list[tuple[str, int, str, str]]
) -> None:
    assert [
        message for message in messages if message[0] == program.name and message[2] != "note"
    ] == []
