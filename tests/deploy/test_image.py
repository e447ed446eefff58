from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy import tools

FILE = tools.DEPLOY / "docker" / "Dockerfile"


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, with their arguments."""
    text = FILE.read_text(encoding="utf-8").replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest.strip()))
    return found


def arguments(stage: list[tuple[str, str]], wanted: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == wanted]


def copied() -> list[str]:
    """What is copied from the repository, by path."""
    found = []
    for stage in stages():
        for rest in arguments(stage, "COPY"):
            *sources, _ = shlex.split(rest)
            found += [] if sources[0].startswith("--from=") else sources
    return found


def test_instructions_are_known_and_bases_are_slim_and_fixed() -> None:
    known = {"FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "HEALTHCHECK", "CMD"}
    assert {instruction for stage in stages() for instruction, _ in stage} <= known
    for stage in stages():
        base = arguments(stage, "FROM")[0].split()[0]
        assert fnmatch(base, "python:3.*-slim")


def test_the_last_stage_has_no_root_a_health_check_and_what_was_built() -> None:
    build, final = stages()
    user = arguments(final, "USER")[0]
    # The number, as kubelet cannot look up a name.
    assert user.split(":")[0].isdecimal()
    assert int(user.split(":")[0]) > 0
    order = [instruction for instruction, _ in final]
    assert "RUN" not in order[order.index("USER") :]
    (check,) = arguments(final, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    script = command[-1].replace("/opt/amzmq/app/", "")
    assert (tools.DEPLOY / "app" / script).is_file()
    assert json.loads(arguments(final, "CMD")[0])[0] == "amzmq"
    assert "--from=build /opt/amzmq /opt/amzmq" in arguments(final, "COPY")
    assert any("pip install" in rest for rest in arguments(build, "RUN"))
    assert not any("pip install" in rest for rest in arguments(final, "RUN"))


def test_what_is_copied_exists_and_is_not_ignored_and_keys_are() -> None:
    ignored = FILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert "**/*.key" in ignored
    assert set(copied()) == allowed
    assert all((tools.ROOT / path).exists() for path in copied())


def test_the_package_is_built_from_just_what_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for path in copied():
        original = tools.ROOT / path
        if original.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(original, source / path, ignore=ignore)
        else:
            shutil.copy(original, source / path)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-lib", str(tmp_path / "lib")],
        cwd=source,
        capture_output=True,
        timeout=tools.TIMEOUT_S,
        check=True,
    )
    built = {str(path.relative_to(tmp_path / "lib")) for path in (tmp_path / "lib").rglob("*.py")}
    assert built == {str(p.relative_to(source)) for p in (source / "amzmq").rglob("*.py")}
    assert (tmp_path / "lib" / "amzmq" / "py.typed").is_file()
