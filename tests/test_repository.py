"""What has to stay true of the repository as a whole."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "amzmq").rglob("*.py"))
MAX_LINES = 600
# Joined here, as this file is looked at too.
MACHINE_PATHS = tuple(f"/{folder}/" for folder in ("work", "root"))


def project_files() -> list[Path]:
    """Return what is tracked by git, or would be with the next `git add`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # One that was removed and not yet committed is still listed.
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def imported_roots(source: Path) -> set[str]:
    roots: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


def test_core_needs_only_pyzmq_and_msgpack() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].split("\n")
    requirements = [line for line in lines if line.strip() and not line.startswith("#")]
    names = {re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0] for line in requirements}
    assert names == {"pyzmq", "msgpack"}
    assert all(">=" in line for line in requirements)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is(source: Path) -> None:
    assert ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_not_too_long(source: Path) -> None:
    lines = source.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES


# import-linter holds the arrows between the rooms; here is what each may use from outside.
@pytest.mark.parametrize(
    ("room", "installed", "not_even"),
    [
        ("machine", set(), {"socket", "ssl", "selectors"}),
        ("states", set(), {"socket", "ssl", "selectors"}),
        ("wire", {"msgpack", "zstandard"}, {"asyncio", "socket", "ssl", "selectors", "time"}),
        ("net", {"zmq"}, set()),
        ("rpc", {"zmq", "msgpack"}, set()),
    ],
)
def test_room_uses_nothing_else_from_outside(
    room: str, installed: set[str], not_even: set[str]
) -> None:
    allowed = (sys.stdlib_module_names | installed | {"amzmq"}) - not_even
    sources = (ROOT / "amzmq" / room).rglob("*.py")
    extra = {str(s.relative_to(ROOT)): imported_roots(s) - allowed for s in sources}
    assert {source: roots for source, roots in extra.items() if roots} == {}


def test_nothing_is_ever_unpickled() -> None:
    unsafe = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    assert {str(s.relative_to(ROOT)) for s in SOURCES if imported_roots(s) & unsafe} == set()


def test_public_names_are_complete_sorted_and_importable() -> None:
    amzmq = importlib.import_module("amzmq")
    listed = list(getattr(amzmq, "__all__", []))
    # dir() has names that are imported only when asked for as well, where __dir__ lists them.
    public = {name for name in dir(amzmq) if not name.startswith("_") and _is_ours(amzmq, name)}
    assert listed == sorted(set(listed))
    assert all(hasattr(amzmq, name) for name in listed)
    assert public <= set(listed)


def _is_ours(package: ModuleType, name: str) -> bool:
    value = getattr(package, name)
    return not isinstance(value, ModuleType) and name not in ("annotations", "TYPE_CHECKING")


def test_no_path_of_one_machine() -> None:
    found = []
    for path in project_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in MACHINE_PATHS if word in text]
    assert found == []
