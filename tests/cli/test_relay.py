"""The relay command, with sources and followers in processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from amzmq.cli.app import app
from tests.cli.command import TIMEOUT, amzmq, interrupt, one_line, running

MODULE = """
from amzmq.machine import Machine, State


def make():
    machine = Machine({"Open": State(remove="Closed"), "Closed": State(remove="Open")}, id="door")
    machine.add("Closed")
    return machine
"""


@contextmanager
def announced(*args: str, cwd: Path | None = None) -> Iterator[tuple[Any, Any]]:
    """A command that says in JSON where it serves: what it said, and its process."""
    with running(*args, "--json", cwd=cwd) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), process


@pytest.fixture
def source(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "door.py").write_text(MODULE, encoding="utf-8")
    target = ("serve", "door:make", "--bind", "tcp://127.0.0.1:0")
    with announced(*target, cwd=tmp_path) as (said, _):
        yield said["addr"]


def test_a_relay_of_a_relay_serves_the_machine_and_takes_its_mutations(source: str) -> None:
    with (
        announced("relay", source, "--name", "upper") as (upper, _),
        announced("relay", upper["addr"], source, "--name", "lower") as (lower, _),
    ):
        assert upper["machines"] == ["door"]
        assert (upper["depth"], lower["depth"]) == (1, 2)
        assert amzmq("add", lower["addr"], "Open").returncode == 0
        assert amzmq("when", source, "Open", "--timeout", "10").returncode == 0
        listed = json.loads(amzmq("ls", lower["addr"], "--json").stdout)
        assert listed[0]["path"] == ["door", "rnm-upper", "rnm-lower"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_relay_ends_with_status_0_when_it_is_told_to(source: str, number: int) -> None:
    with announced("relay", source) as (_, process):
        process.send_signal(number)
        assert process.wait(TIMEOUT) == 0


def test_what_a_relay_says_to_people_is_one_line(source: str) -> None:
    with running("relay", source, "--machine", "door") as process:
        assert process.stdout is not None
        assert "relaying door at tcp://127.0.0.1:" in process.stdout.readline()
        rest, complaints = interrupt(process)
    assert (rest, complaints, process.returncode) == ("", "", 0)


def test_a_relay_that_finds_no_upstream_is_status_2_in_one_line() -> None:
    result: subprocess.CompletedProcess[str] = amzmq(
        "relay", "tcp://127.0.0.1:1", "--start-timeout", "0.3"
    )
    assert result.returncode == 2
    assert "no upstream at tcp://127.0.0.1:1 within 0.3 s" in one_line(result.stderr)


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(app, ["relay", "--help"])
    assert "Example: amzmq relay" in result.output
