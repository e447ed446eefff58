"""The relay command, with sources and followers in processes of their own."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cli.background import in_background, serving
from tests.cli.command import TIMEOUT, interrupt, invoke, one_line, running


@contextmanager
def announced(*args: str) -> Iterator[tuple[Any, Any]]:
    """A command that says in JSON where it serves: what it said, and its process."""
    with running(*args, "--json") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), process


@pytest.fixture
def source() -> Iterator[str]:
    with in_background(lambda: serving("door")) as served:
        yield served.addr


def test_a_relay_of_a_relay_serves_the_machine_and_takes_its_mutations(source: str) -> None:
    with (
        announced("relay", source, "--name", "upper") as (upper, _),
        announced("relay", upper["addr"], source, "--name", "lower") as (lower, _),
    ):
        assert upper["machines"] == ["door"]
        assert (upper["depth"], lower["depth"]) == (1, 2)
        assert invoke("add", lower["addr"], "Open").returncode == 0
        assert invoke("when", source, "Open", "--timeout", "10").returncode == 0
        listed = json.loads(invoke("ls", lower["addr"], "--json").stdout)
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
    done = invoke("relay", "tcp://127.0.0.1:1", "--start-timeout", "0.3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no upstream at tcp://127.0.0.1:1 within 0.3 s" in one_line(done.stderr)
