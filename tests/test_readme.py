"""The README's programs run as printed, and do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.ports import free_ports

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAM = re.compile(r"<!-- test: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
PORT = "7701"


def test_the_two_first_programs_talk_to_each_other_as_printed(tmp_path: Path) -> None:
    programs = dict(PROGRAM.findall(README))
    assert set(programs) == {"door.py", "visitor.py"}
    port = str(free_ports()[0])
    for name, text in programs.items():
        assert PORT in text
        (tmp_path / name).write_text(text.replace(PORT, port))
    door = subprocess.Popen(
        [sys.executable, tmp_path / "door.py"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert door.stdout is not None
        assert door.stdout.readline() == f"serving at tcp://127.0.0.1:{port}\n"
        visitor = subprocess.run(
            [sys.executable, tmp_path / "visitor.py"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            cwd=ROOT,
        )
        rest, _ = door.communicate(timeout=20)
    finally:
        if door.poll() is None:
            door.kill()
            door.communicate()
    assert visitor.stdout.splitlines() == [
        "I see (Closed:1)",
        "executed",
        "I see (Open:1)",
        "the door says: nobody home",
    ]
    assert rest == "opened by visitor\n"
    assert door.returncode == 0


def test_the_printed_session_is_the_one_that_the_test_above_sees() -> None:
    session = README.split("```text\n$ python door.py", 1)[1].split("```", 1)[0]
    for line in ("opened by visitor", "I see (Closed:1)", "I see (Open:1)", "nobody home"):
        assert line in session


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
