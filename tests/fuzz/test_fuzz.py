"""What was ever found stays mended; each target is tried a little on each run of the tests."""

from __future__ import annotations

import contextlib
import logging
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amzmq.wire.codec import encode
from tests.fuzz import worker
from tests.fuzz.catalogue import CORPUS, FINDINGS, HERE, TARGETS, kept
from tests.fuzz.mutating import changed
from tests.fuzz.target import Finding, Play, Target, Traces, watched_log

TRIED = 60
"""Changed inputs of each target in a run of the tests."""


@contextlib.contextmanager
def playing(name: str) -> Iterator[Play]:
    with watched_log() as traces:
        play = TARGETS[name].make(traces)
        yield play
        if close := getattr(play, "close", None):
            close()


@pytest.mark.parametrize("name", TARGETS)
def test_all_that_was_kept_is_accepted_or_refused_as_documented(name: str) -> None:
    with playing(name) as play:
        for data in (*TARGETS[name].seeds(), *kept(CORPUS, name), *kept(FINDINGS, name)):
            play(data)


@pytest.mark.parametrize("name", TARGETS)
def test_so_is_whatever_is_like_it(name: str) -> None:
    target, rng = TARGETS[name], random.Random(0)
    known = [*target.seeds(), *kept(CORPUS, name)]
    with playing(name) as play:
        for _ in range(TRIED):
            data = changed(rng.choice(known), rng, target.is_packed, target.prefix)
            play(data[: target.max_size])


def test_every_folder_of_inputs_is_of_a_target() -> None:
    folders = [path.name for where in (CORPUS, FINDINGS) for path in where.glob("*")]
    assert set(folders) <= set(TARGETS)


@pytest.mark.parametrize("name", ["control", "feed", "policy"])
def test_inputs_change_into_many_others_within_reason(name: str) -> None:
    target, rng = TARGETS[name], random.Random(1)
    (first, *_) = target.seeds()
    made = {changed(first, rng, target.is_packed, target.prefix) for _ in range(200)}
    assert len(made) > 100


def test_a_traceback_in_the_log_is_a_finding() -> None:
    with watched_log() as traces:
        logging.getLogger("amzmq.mux").warning("only a word")
        traces.check()
        try:
            raise ValueError("oh")
        except ValueError:
            logging.getLogger("amzmq.mux").exception("more than that")
        with pytest.raises(Finding, match="ValueError: oh"):
            traces.check()
        traces.check()


def _fragile(traces: Traces) -> Play:
    """Breaks at one input, and at the third of any."""
    played: list[bytes] = []

    def play(data: bytes) -> None:
        played.append(data)
        if data == b"bad" or len(played) == 3:
            raise Finding("broken", None if data == b"bad" else b"".join(played))

    return play


def _once(folder: Path) -> worker._Once:
    target = Target("fragile", _fragile, lambda: [b"good"])
    return worker._Once(target, _fragile(Traces()), folder)


def test_a_finding_is_kept_as_the_input_alone_if_it_is_enough(tmp_path: Path) -> None:
    once = _once(tmp_path)
    once(b"good")
    with pytest.raises(Finding):
        once(b"bad")
    assert kept(tmp_path, "fragile") == [b"bad"]


def test_a_finding_that_needs_what_came_before_is_kept_with_it(tmp_path: Path) -> None:
    once = _once(tmp_path)
    once(b"a")
    once(b"b")
    with pytest.raises(Finding):
        once(b"c")
    assert kept(tmp_path, "fragile") == [b"abc"]


def test_a_world_that_went_wrong_tells_all_that_led_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from amzmq.rpc.server.outbox import Outbox

    def acknowledge(outbox: Outbox, ordinal: int, failed: object) -> None:
        raise KeyError("forgotten")

    first, second = encode([[0, [8, 1]]]), encode([[0, [11, 1]]])
    with playing("mux") as play:
        play(first)
        monkeypatch.setattr(Outbox, "acknowledge", acknowledge)
        with pytest.raises(Finding, match="forgotten") as caught:
            play(second)
        assert caught.value.story == encode([[0, [8, 1]], [0, [11, 1]]])
        monkeypatch.undo()
        play(caught.value.story)


def test_the_command_fuzzes_a_target_and_shows_what_it_did() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "journal", "--runs", "200", "--seconds", "20"],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "journal          inputs=2" in done.stdout
    assert "findings=0" in done.stdout


def test_the_command_knows_its_targets() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "nothing"],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 2
    assert "no such targets: nothing" in done.stdout
