from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.command import ENVIRONMENT, TIMEOUT, invoke, one_line


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
    code = (
        "import sys; sys.modules['zmq'] = None; sys.argv[1:] = ['ls', 'tcp://127.0.0.1:9']; "
        "from amzmq.cli.entry import main; main()"
    )
    done = subprocess.run(
        (sys.executable, "-c", code), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


# What the work of commands needs. The rest is for showing help: typer, and rich with it.
HEAVY = ("amzmq.rpc", "amzmq.net", "amzmq.sidecar", "asyncio", "zmq", "msgpack", "rich.live")
HEAVY += ("prompt_toolkit", "starlette", "uvicorn", "prometheus_client")


def imported_by_the_command(code: str) -> list[str]:
    """The heavy modules that the command itself imports; what `import amzmq` brings is before."""
    measure = (
        "import sys, amzmq\nbefore = set(sys.modules)\n"
        "from amzmq.cli.entry import main\n"
        f"{code}\n"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        (sys.executable, "-c", measure),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    modules = done.stderr.split()
    assert "amzmq.cli.app" in modules
    return [name for name in modules if any(f"{name}.".startswith(f"{it}.") for it in HEAVY)]


def test_help_and_completion_do_not_wait_for_what_the_work_needs() -> None:
    asked = (
        "import os\n"
        "def ask(*args, **variables):\n"
        "    sys.argv[1:] = args; os.environ.update(variables)\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "ask('--help')\n"
        "ask('watch', '--help')\n"
        "ask(_AMZMQ_COMPLETE='complete_bash', COMP_WORDS='amzmq wa', COMP_CWORD='1')"
    )
    assert imported_by_the_command(asked) == []


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
    done = invoke("--version")
    assert done.returncode == 0
    assert one_line(done.stdout).startswith("amzmq")
