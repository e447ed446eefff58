"""The mistakes are the ones meant, and a test that sees one is found."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.equivalent import known_equivalents
from tests.mutation.modules import GROUPS, ROOT
from tests.mutation.operators import mutants, mutated

MODULE = '''
"""Text."""

import logging

_log = logging.getLogger("name")
LIMIT: "int" = 3


class Thing:
    """Text."""

    def grow(self, by: int = 1) -> bool:
        """Text."""
        if by < 0 or not self:
            raise ValueError(f"by={by}, {1 + 1}")
        self.size = by + 2
        _log.info("grown by %d", 7)
        return True
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    return path


def test_each_place_that_says_something_is_changed_once_a_way(module: Path) -> None:
    made = {(mutant.owner, mutant.what) for mutant in mutants(module)}
    assert made == {
        ("", "'name' → ''"),
        ("", "3 → 4"),
        ("", "1 → 2"),
        ("Thing.grow", "by < 0 or not self → not (by < 0 or not self)"),
        ("Thing.grow", "by < 0 or not self → by < 0 and (not self)"),
        ("Thing.grow", "by < 0 → by <= 0"),
        ("Thing.grow", "0 → 1"),
        ("Thing.grow", "not self → self"),
        ("Thing.grow", "raise ValueError(f'by={by}, {1 + 1}') → pass"),
        ("Thing.grow", "self.size = by + 2 → pass"),
        ("Thing.grow", "by + 2 → by - 2"),
        ("Thing.grow", "2 → 3"),
        ("Thing.grow", "True → False"),
    }


def test_a_module_with_a_mistake_differs_from_the_right_one_in_that_alone(module: Path) -> None:
    right = ast.unparse(ast.parse(MODULE)).splitlines()
    for mutant in mutants(module):
        tree = mutated(mutant)
        compile(tree, str(module), "exec")
        wrong = ast.unparse(tree).splitlines()
        assert wrong != right
        assert len(wrong) == len(right)
        assert sum(a != b for a, b in zip(right, wrong, strict=True)) == 1


def test_all_mistakes_that_are_listed_as_none_are_still_there() -> None:
    listed = known_equivalents()
    modules = {module for module, *_ in listed}
    there = {
        (module, mutant.owner, mutant.source, mutant.what)
        for module in modules
        for mutant in mutants(ROOT / "amzmq" / module)
    }
    assert set(listed) - there == set()
    assert len(listed) > 20


def test_the_modules_and_their_tests_are_there() -> None:
    for group in GROUPS:
        assert all((ROOT / "amzmq" / module).is_file() for module in group.modules)
        assert all((ROOT / test).exists() for test in group.tests)


def test_the_command_shows_what_the_tests_miss() -> None:
    tests = ["--tests", "tests/wire/test_journal.py", "--no-fresh", "--every", "8"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "wire/journal.py", *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("wire/journal.py ")]
    made, killed, equivalent, survived = map(int, row.split()[1:])
    assert made == killed + equivalent + survived
    assert killed > made // 2
    assert (done.returncode == 0) is (survived == 0)
