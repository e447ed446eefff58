"""Answers that are the same for many: kept while they are right, and no more than there is room."""

from __future__ import annotations

from functools import partial

import pytest

from amzmq.machine import Machine, State
from amzmq.rpc.server import answers
from amzmq.rpc.server.answers import Answers
from amzmq.wire.control import CatchUp
from amzmq.wire.control_frames import from_frame
from amzmq.wire.writer import StreamWriter


def stream() -> StreamWriter:
    return StreamWriter(b"streamid", b"epoch", Machine({"A": State()}, id="src").compiled)


def test_an_answer_is_made_once_and_differs_in_its_number_only() -> None:
    kept, writer = Answers(), stream()
    frames = [
        kept.frame(writer, "all", (7,), request, lambda: CatchUp(0, [b"one"], 7))
        for request in (1, 2, 300)
    ]
    assert [from_frame(frame) for frame in frames] == [
        CatchUp(request, [b"one"], 7) for request in (1, 2, 300)
    ]
    assert kept.encoded == 1


def test_another_stamp_makes_the_answer_anew() -> None:
    kept, writer = Answers(), stream()
    for stamp in ((1,), (1,), (2,), (2,), (1,)):
        frame = kept.frame(writer, "all", stamp, 9, partial(CatchUp, 0, [], *stamp))
        assert from_frame(frame) == CatchUp(9, [], *stamp)
    assert kept.encoded == 3


def test_streams_do_not_share_answers() -> None:
    kept, first, second = Answers(), stream(), stream()
    kept.frame(first, "all", (), 1, lambda: CatchUp(0, [b"first"]))
    frame = kept.frame(second, "all", (), 1, lambda: CatchUp(0, [b"second"]))
    assert from_frame(frame) == CatchUp(1, [b"second"])


def test_the_answers_used_longest_ago_are_forgotten_first() -> None:
    kept, writer = Answers(), stream()
    for key in range(answers.ANSWERS_KEPT + 1):
        kept.frame(writer, key, (), 1, lambda: CatchUp(0, []))
    assert kept.encoded == answers.ANSWERS_KEPT + 1
    kept.frame(writer, 1, (), 1, lambda: CatchUp(0, []))
    assert kept.encoded == answers.ANSWERS_KEPT + 1
    kept.frame(writer, 0, (), 1, lambda: CatchUp(0, []))
    assert kept.encoded == answers.ANSWERS_KEPT + 2


def test_an_answer_that_was_made_anew_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWERS_KEPT", 2)
    kept, writer = Answers(), stream()
    for key, stamp in (("one", 1), ("two", 1), ("one", 2), ("three", 1), ("one", 2)):
        kept.frame(writer, key, (stamp,), 1, lambda: CatchUp(0, []))
    assert kept.encoded == 4


def test_large_answers_are_not_kept_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BYTES_KEPT", 1000)
    kept, writer = Answers(), stream()
    for _ in range(2):
        for key in ("one", "two"):
            kept.frame(writer, key, (), 1, lambda: CatchUp(0, [bytes(900)]))
    assert kept.encoded == 4
    kept.frame(writer, "two", (), 1, lambda: CatchUp(0, [bytes(900)]))
    assert kept.encoded == 4


def test_an_answer_is_kept_while_it_is_wanted() -> None:
    kept, writer = Answers(), stream()

    def give(key: str) -> None:
        kept.frame(writer, key, (), 1, lambda: CatchUp(0, []))

    give("one")
    give("two")
    for _ in range(3):
        kept.forget_unwanted()
        give("one")
    assert kept.encoded == 2
    give("two")
    assert kept.encoded == 3
    kept.forget_unwanted()
    kept.forget_unwanted()
    give("one")
    assert kept.encoded == 4
