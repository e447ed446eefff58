"""Whatever bytes arrive: they are a message, or they are `FrameInvalid`. Nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amzmq.errors import FrameInvalid
from amzmq.machine import Machine, State
from amzmq.wire.codec import decode, encode
from amzmq.wire.control import Bye, Mutate, Welcome
from amzmq.wire.control_frames import from_frame, to_frame
from amzmq.wire.feed import FeedKind, PayloadFrame, Update, parse_body
from amzmq.wire.schema import schema_from_value, schema_value

from .strategies import values

READERS: list[Callable[[bytes], object]] = [decode, from_frame, parse_body]
SCHEMA = schema_value(Machine({"A": State(auto=True), "B": State(require="A")}).compiled)

WHOLE = [
    to_frame(Mutate(7, 0, [1, 2], {"a": [1, "x", None]}, 5)),
    to_frame(Welcome(1, b"epoch", b"streamid", "tcp://a:1", "m", 1000, SCHEMA)),
    to_frame(Bye("so long")),
    Update(2**40, 3, [1, 2, 3, 4], 2**32 - 1, 1).body(),
    PayloadFrame(9, 1, "name", {"k": [1.5, b"x"]}, b"12345678", "tx").body(),
]


def refusal(read: Callable[..., object], value: object) -> str:
    """Why a value is refused; "" when it is accepted. Any other error fails the test."""
    try:
        read(value)
    except FrameInvalid as error:
        return str(error) or "refused without a word"
    return ""


@pytest.mark.parametrize("read", READERS)
@given(data=st.binary(max_size=200))
@example(data=b"\x01\xc1")
def test_random_bytes(read: Callable[[bytes], object], data: bytes) -> None:
    assert refusal(read, data) != "refused without a word"


@given(kind=st.sampled_from([0, *FeedKind, 4, 255]), fields=st.lists(values, max_size=7))
def test_random_fields_of_a_feed_message(kind: int, fields: list[object]) -> None:
    refusal(parse_body, bytes([kind]) + encode(fields))


@given(kind=st.integers(0, 15), fields=st.lists(values, max_size=8))
def test_random_fields_of_a_message(kind: int, fields: list[object]) -> None:
    refusal(from_frame, encode([kind, *fields]))


@given(whole=st.sampled_from(WHOLE), data=st.data())
def test_whole_messages_cut_short_are_invalid(whole: bytes, data: st.DataObject) -> None:
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert refusal(parse_body, cut)
    assert refusal(from_frame, cut)


@given(whole=st.sampled_from(WHOLE), data=st.data())
def test_whole_messages_with_a_flipped_bit(whole: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at // 8] ^= 1 << at % 8
    for read in READERS:
        refusal(read, bytes(flipped))


rows = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "Exception", ""]) | values,
        st.integers(-1, 8) | values,
        *[st.lists(st.sampled_from(["A", "B", "C"]), max_size=3) | values for _ in range(5)],
    ).map(list)
    | values,
    max_size=4,
)


@given(rows | values)
def test_random_values_as_a_schema(value: object) -> None:
    reason = refusal(schema_from_value, value)
    assert not reason or reason.startswith("schema: ")
