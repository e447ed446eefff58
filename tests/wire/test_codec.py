"""One msgpack value, all of it, or an error that names what is wrong."""

from __future__ import annotations

import datetime
import fractions
import re
import threading
from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given

from amzmq.errors import FrameInvalid, InvalidArgs, Remedy
from amzmq.wire.codec import decode, decode_array, encode, plain_packer
from amzmq.wire.control import Directed, Mutate
from amzmq.wire.control_frames import to_frame
from amzmq.wire.feed import PayloadFrame

from .strategies import values


def nested(depth: int) -> object:
    value: object = []
    for _ in range(depth - 1):
        value = [value]
    return value


def circle() -> object:
    value: list[object] = []
    value.append(value)
    return value


@given(values)
def test_what_has_a_form_on_the_wire_comes_back_equal(value: object) -> None:
    assert decode(encode(value)) == value


def test_tuples_arrive_as_lists() -> None:
    assert decode(encode((1, (2, 3)))) == [1, [2, 3]]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (1j, "1j"),
        (fractions.Fraction(1, 3), "Fraction(1, 3)"),
        (datetime.UTC, "datetime.timezone.utc"),
        (range(3), "range(0, 3)"),
        (object, "<class 'object'>"),
        (2**64, str(2**64)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        ("\ud800", r"'\ud800'"),
        ({"deep": [{"er": 1j}]}, "{'deep': [{'er': 1j}]}"),
        ({1j: 1}, "{1j: 1}"),
        (circle(), "[[...]]"),
    ],
)
def test_what_has_no_form_is_refused_by_name(value: object, named: str) -> None:
    with pytest.raises(InvalidArgs, match=re.escape(named)) as caught:
        encode(value)
    assert "None, bool, int (64 bit), float, str, bytes" in str(caught.value)


CONTENT: list[Callable[[object], object]] = [
    lambda value: PayloadFrame(1, 1, "name", value, b"token").body(),
    lambda value: to_frame(Directed(1, 1, "name", value, b"token")),
    lambda value: to_frame(Mutate(1, 0, [0], {"arg": value}, 0)),
]


@pytest.mark.parametrize("send", CONTENT)
@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({(1, 2): 3}, "(1, 2) cannot be a key"),
        ([{"a": {(): 1}}], "() cannot be a key"),
        (nested(1023), "more than 512"),
        ({"a": nested(512)}, "more than 512"),
        (msgpack.Timestamp(1, 2), "Timestamp"),
        ([msgpack.ExtType(5, b"x")], "ExtType"),
        (circle(), "recursion"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_other_side_could_not_read_is_refused_when_it_is_sent(
    send: Callable[[object], object], value: object, named: str
) -> None:
    # A payload of it would be a message that no follower can ever take, hence a hole for all.
    with pytest.raises(InvalidArgs, match=re.escape(named)) as caught:
        send(value)
    assert "cannot travel" in str(caught.value)


@pytest.mark.parametrize("send", CONTENT)
@given(value=values)
def test_content_that_can_be_read_is_accepted(
    send: Callable[[object], object], value: object
) -> None:
    send(value)


def test_a_long_value_is_named_shortly() -> None:
    with pytest.raises(InvalidArgs) as caught:
        encode(["x" * 10_000, 1j])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",  # never used
        b"\x92\x01",  # two announced, one there
        b"\x01\x02",  # two values
        b"\xdd\xff\xff\xff\xff",  # an array of four billion
        b"\xdf\xff\xff\xff\xff",  # a map of as many
        b"\xc6\xff\xff\xff\xff",  # bytes of as many
        b"\xa1\xff",  # no UTF-8
        b"\x81\x90\x01",  # a list as a key
        b"\xc7\x05\xff12345",  # a timestamp of five bytes
        b"\x91" * 100_000 + b"\x90",  # a hundred thousand deep
    ],
)
def test_what_is_not_one_value_is_invalid(data: bytes) -> None:
    with pytest.raises(FrameInvalid, match=f"^{len(data)} bytes that are no msgpack value"):
        decode(data)


def test_an_invalid_frame_asks_for_a_resync() -> None:
    with pytest.raises(FrameInvalid) as caught:
        decode(b"")
    assert caught.value.remedy is Remedy.RESYNC


@pytest.mark.parametrize("value", [1, "text", b"bytes", {"a": 1}, None])
def test_a_message_that_is_no_array_is_invalid(value: object) -> None:
    with pytest.raises(FrameInvalid, match="a message is an array"):
        decode_array(encode(value))


def test_each_thread_has_a_packer_of_its_own() -> None:
    assert plain_packer() == plain_packer()
    assert plain_packer()((1, [2, None], b"x")) == encode((1, [2, None], b"x"))
    others: list[object] = []
    thread = threading.Thread(target=lambda: others.append(plain_packer()))
    thread.start()
    thread.join()
    assert others != [plain_packer()]
