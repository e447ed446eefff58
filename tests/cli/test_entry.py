from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.command import ENVIRONMENT, TIMEOUT, amzmq, one_line


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_how_to_get_it(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from amzmq.cli.entry import main; main()"
    done = subprocess.run(
        (sys.executable, "-c", code),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "pip install 'amzmq[cli]'" in one_line(done.stderr)


def test_a_module_of_ours_that_is_missing_is_not_blamed_on_the_extra() -> None:
    code = "import sys; sys.modules['zmq'] = None; from amzmq.cli.entry import main; main()"
    done = subprocess.run(
        (sys.executable, "-c", code), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_followers_start_without_what_only_people_need() -> None:
    code = (
        "import sys, amzmq.cli.demo.follower; print([m for m in ('typer', 'rich') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        (sys.executable, "-c", code), env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_version_is_one_line() -> None:
    done = amzmq("--version")
    assert done.returncode == 0
    assert one_line(done.stdout).startswith("amzmq")
