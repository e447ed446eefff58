"""Messages of a conversation: what is sent arrives, what is wrong is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amzmq.errors import FrameInvalid, InvalidArgs
from amzmq.wire.codec import decode_array, encode
from amzmq.wire.control import (
    Ack,
    Bye,
    CatchUp,
    Chunk,
    Directed,
    Fetch,
    Follow,
    Followed,
    Hello,
    List,
    Listing,
    Message,
    Mutate,
    NsReport,
    Ping,
    Pong,
    Refusal,
    RefusalCode,
    Reply,
    SnapshotReply,
    Sync,
    Unfollow,
    Unwatch,
    Watch,
    Watched,
    WatchKind,
    Welcome,
)
from amzmq.wire.control_frames import frame_with, from_frame, tail_of, to_frame

from .strategies import int64, naturals, values

MESSAGES: list[Message] = [
    Hello(1, "rc-a", b"12345678", b"hash", "machine", [False, None], ["zstd"]),
    Welcome(
        1,
        b"epoch",
        b"streamid",
        "tcp://127.0.0.1:7702",
        "machine",
        1000,
        [["A", 0]],
        True,
        1024,
        [0, 2],
        ["machine", "relay"],
        {"Pair": [0, 1]},
        ["zstd"],
    ),  # fmt: skip
    Sync(1, b"epoch", 7, b"hash", b"streamid"),
    SnapshotReply(1, 7, [0, 1, 2**40], 3, 1, 2, 2**32 - 1, [["A", 0]], [0, 2]),
    CatchUp(1, [b"one", b"two"], 9),
    Mutate(1, 0, [0, 5], {"user": 42}, -1, ["machine", "tx", 7]),
    Reply(1, 0, [b"one"], 9),
    Ping(-1, 3, [[b"streamid", 7]]),
    Pong(7, 3),
    Directed(1, 7, "price", {"usd": 1.5}, b"token", "tx", [1024, 64], "origin"),
    Ack(3, [[2, "nobody"]]),
    Bye("the source stops", [[b"streamid", 7]]),
    Refusal(0, RefusalCode.STOPPING, "later", b"token"),
    Watch(3, WatchKind.ARGS, [4], {"user": 42}, 7),
    Watched(3, 17),
    Unwatch(3),
    NsReport(5, 1, 1, "no such state"),
    List(1),
    Listing(1, [["door", 3, 7, ["Open"], [], "", ["door"], 2]]),
    Fetch(b"token", 2**40, 8),
    Chunk(b"token", 2**40, 65536, "zstd"),
    Follow(2, "lamp", [False, None], b"hash"),
    Followed(
        2, b"streamid", b"epoch", "lamp", [["A", 0]], [0, 2], ["lamp", "relay"], {"Pair": [0, 1]}
    ),
    Unfollow(b"streamid", "lamp is no longer served"),
]
KINDS = [type(message) for message in MESSAGES]
OPTIONAL = {
    Hello: 3, Welcome: 7, Mutate: 1, Reply: 1, CatchUp: 1, Directed: 3, Ping: 2, Pong: 1,
    Ack: 1, Bye: 1, Refusal: 1, Chunk: 1, Sync: 2, SnapshotReply: 2, Follow: 2, Followed: 4,
    Unfollow: 1,
}  # fmt: skip
"""How many fields at the end may be missing."""

STRATEGIES = {
    "i": int64,
    "n": naturals,
    "s": st.text(),
    "b": st.binary(),
    "*": values,
    "I": st.lists(int64),
    "B": st.lists(st.binary()),
    "t": st.booleans(),
    "L": st.none() | st.lists(st.text() | naturals, max_size=3),
    "N": st.none() | st.lists(naturals, max_size=3),
    "l": st.lists(st.text() | naturals, max_size=3),
    "D": st.none() | st.dictionaries(st.text(), values, max_size=3),
}
FORMS = {
    Hello: "nsbbsLL", Welcome: "nbbssn*tnNLDL", Sync: "nbibb", SnapshotReply: "nnInnnn*N",
    CatchUp: "nBn", Mutate: "nnIDiL", Reply: "nnBn", Ping: "inL", Pong: "nn", Directed: "nns*bsLs",
    Ack: "nL", Bye: "sL", Refusal: "nnsb", Watch: "nnIDi", Watched: "nn", Unwatch: "n",
    NsReport: "nnns", List: "n", Listing: "nl", Fetch: "bnn", Chunk: "bnns",
    Follow: "nsLb", Followed: "nbbs*NLD", Unfollow: "bs",
}  # fmt: skip


def test_every_kind_is_looked_at_here() -> None:
    assert set(KINDS) == set(FORMS) == set(Message.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    assert from_frame(to_frame(message)) == message
    assert type(from_frame(to_frame(message))) is type(message)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_content_of_the_right_types_arrives(kind: type[Message], data: st.DataObject) -> None:
    message = kind(*[data.draw(STRATEGIES[form]) for form in FORMS[kind]])  # type: ignore[arg-type]
    assert from_frame(to_frame(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_the_kinds_differ_on_the_wire(message: Message) -> None:
    assert decode_array(to_frame(message))[0] == KINDS.index(type(message)) + 1


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_fields_of_later_versions_are_ignored(message: Message) -> None:
    fields = decode_array(to_frame(message))
    assert from_frame(encode([*fields, "later", {"and": 1}])) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_with_too_few_fields_is_invalid(message: Message) -> None:
    fields = decode_array(to_frame(message))
    needed = len(fields) - OPTIONAL.get(type(message), 0)
    assert type(from_frame(encode(fields[:needed]))) is type(message)
    for count in range(1, needed):
        with pytest.raises(FrameInvalid, match=f"{type(message).__name__}: {count - 1} fields"):
            from_frame(encode(fields[:count]))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_field_of_the_wrong_type_is_named(message: Message) -> None:
    wrong: dict[str, list[object]] = {
        "i": [None, "1", 1.0, True, [1]],
        "n": [None, "1", 1.0, True, -1],
        "s": [None, 1, b"bytes"],
        "b": [None, 1, "text"],
        "I": [None, 1, ["1"], [True], {}],
        "B": [None, b"x", ["text"], [1]],
        "D": [1, [], {1: 2}, {b"k": 1}],
        "t": [None, 0, "true"],
        "L": [0, "list", {}],
        "l": [None, 0, "list", {}],
        "N": [0, [-1], [True], ["1"], {}],
        "*": [],
    }
    for at, form in enumerate(FORMS[type(message)]):
        for value in wrong[form]:
            fields = decode_array(to_frame(message))
            fields[at + 1] = value
            with pytest.raises(FrameInvalid, match=f"{type(message).__name__}: field {at} is"):
                from_frame(encode(fields))


@pytest.mark.parametrize("kind", [0, 99, -1, 2**40, None, "1", True, 1.0, [], {}])
def test_an_unknown_kind_is_invalid(kind: object) -> None:
    with pytest.raises(FrameInvalid, match="unknown kind"):
        from_frame(encode([kind, 1, 2, 3, 4, 5, 6, 7]))


def test_an_empty_message_is_invalid() -> None:
    with pytest.raises(FrameInvalid, match="unknown kind None"):
        from_frame(encode([]))


def test_arguments_without_a_form_on_the_wire_are_refused_when_sent() -> None:
    with pytest.raises(InvalidArgs, match=r"^\{'when': 1j\} cannot travel"):
        to_frame(Mutate(1, 0, [0], {"when": 1j}, 0))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_frame_put_together_of_its_parts_is_the_one_that_is_encoded_whole(
    message: Message,
) -> None:
    assert frame_with(type(message), message[0], tail_of(message)) == to_frame(message)


def test_what_is_said_of_one_stream_only_takes_no_bytes_for_others() -> None:
    assert len(decode_array(to_frame(Sync(1, b"epoch", 7, b"hash")))) == 1 + 4
    assert len(decode_array(to_frame(Ping(7, 0)))) == 1 + 2


def test_answers_to_a_few_clients_take_no_byte_for_how_often_many_may_ask() -> None:
    assert len(decode_array(to_frame(Pong(7)))) == 1 + 1
