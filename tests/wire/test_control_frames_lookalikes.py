"""The two most frequent messages are read by a short way, which takes nothing else for one."""

from __future__ import annotations

import pytest

from amzmq.errors import FrameInvalid, InvalidArgs
from amzmq.wire.codec import encode
from amzmq.wire.control import Bye, Mutate, Reply
from amzmq.wire.control_frames import from_frame, to_frame
from amzmq.wire.feed import PayloadFrame

MUTATE, REPLY = 6, 7


@pytest.mark.parametrize(
    "fields",
    [
        [99, 1, 2, [b"body"], 0],
        [True, 1, 2, [b"body"], 0],
        [REPLY, "a", "b", [], 1],
        [REPLY, 1, "b", [], 1],
        [REPLY, 1.5, 1.5, [], 1.5],
        [REPLY, True, True, [], True],
        [REPLY, -1, 0, [], 0],
        [REPLY, 0, 0, [], -1],
        [REPLY, 1, 2, [1], 0],
        [REPLY, 1, 2, b"body", 0],
        [99, 1, 0, [0], None, 3],
        [MUTATE, "a", 0, [], None, 1],
        [MUTATE, "a", "b", [], None, 1],
        [MUTATE, 1, 0, [], None, "x"],
        [MUTATE, 1.5, 1.5, [], None, 1.5],
        [MUTATE, -1, 0, [], None, 1],
        [MUTATE, 1, -1, [], None, 1],
        [MUTATE, 1, 0, [True], None, 1],
        [MUTATE, 1, 0, (), 5, 1],
    ],
    ids=repr,
)
def test_what_only_looks_like_one_is_invalid(fields: list[object]) -> None:
    with pytest.raises(FrameInvalid):
        from_frame(encode(fields))


@pytest.mark.parametrize(
    "message",
    [
        Reply(0, 0, [], 0),
        Reply(7, 1, [b"body"], 9),
        Mutate(0, 0, [], None, -1),
        Mutate(7, 2, [0, 5], None, 3),
        Mutate(7, 2, [0, 5], {"a": 1}, 3),
        Mutate(7, 2, [0], None, 3, ["m", "t", 1]),
    ],
)
def test_what_is_one_arrives_as_it_was(message: Reply | Mutate) -> None:
    assert from_frame(to_frame(message)) == message


def test_a_text_that_cannot_travel_is_named_wherever_it_stands() -> None:
    for send in (
        lambda: to_frame(Bye("\ud800")),
        lambda: to_frame(Mutate(1, 0, [0], {"\ud800": 1}, 0)),
        lambda: PayloadFrame(1, 1, "\ud800", None, b"token").body(),
    ):
        with pytest.raises(InvalidArgs, match="cannot travel"):
            send()
