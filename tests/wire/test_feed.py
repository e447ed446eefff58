"""Messages of the feed, and how small they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amzmq.errors import FrameInvalid
from amzmq.wire.codec import encode
from amzmq.wire.control import Mutate, Reply
from amzmq.wire.control_frames import to_frame
from amzmq.wire.feed import FeedKind, Heartbeat, PayloadFrame, Update, parse_body

from .strategies import int64, naturals, values

UPDATE = Update(7, 1, [3, 1], 0xFFFFFFFF)
PAYLOAD = PayloadFrame(7, 2, "price", {"usd": 1.5}, b"12345678")
HEARTBEAT = Heartbeat(7, 0xFFFFFFFF)

changes = st.lists(st.tuples(naturals, int64), max_size=5).map(
    lambda pairs: [number for pair in pairs for number in pair]
)


@given(naturals, int64, changes, naturals, int64)
def test_an_update_arrives_as_it_was_sent(
    number: int, queue: int, flat: list[int], checksum: int, machine: int
) -> None:
    update = Update(number, queue, flat, checksum, machine)
    assert parse_body(update.body()) == update


@given(naturals, naturals, st.text(), values, st.binary(), st.text())
def test_a_payload_arrives_as_it_was_sent(
    number: int, ordinal: int, name: str, data: object, token: bytes, tx: str
) -> None:
    payload = PayloadFrame(number, ordinal, name, data, token, tx)
    assert parse_body(payload.body()) == payload


@given(naturals, naturals)
def test_a_heartbeat_arrives_as_it_was_sent(number: int, checksum: int) -> None:
    assert parse_body(Heartbeat(number, checksum).body()) == Heartbeat(number, checksum)


@given(
    number=st.integers(1, 2**32),
    queue=st.integers(0, 127),
    index=st.integers(0, 127),
    ticks=st.integers(1, 127),
    checksum=st.integers(0, 2**32 - 1),
)
def test_a_pushed_update_of_one_state_takes_28_bytes_at_most(
    number: int, queue: int, index: int, ticks: int, checksum: int
) -> None:
    frame = b"streamid" + Update(number, queue, [index, ticks], checksum).body()
    assert len(frame) <= 28


@pytest.mark.parametrize("number", [0, 100, 2**16])
def test_adding_one_state_takes_44_bytes_for_request_and_reply_together(number: int) -> None:
    request = to_frame(Mutate(number + 1, 0, [100], None, number))
    body = Update(number + 1, 1, [100, 1], 0xFFFFFFFF).body()
    reply = to_frame(Reply(number + 1, 0, [body]))
    assert len(request) + len(reply) <= 44


@pytest.mark.parametrize("message", [UPDATE, PAYLOAD, HEARTBEAT])
def test_fields_of_later_versions_are_ignored(
    message: Update | PayloadFrame | Heartbeat,
) -> None:
    body = message.body()
    fields = [*message, "later", 1]
    assert parse_body(body[:1] + encode(fields)) == message


@pytest.mark.parametrize(("message", "needed"), [(UPDATE, 4), (PAYLOAD, 5), (HEARTBEAT, 2)])
def test_too_few_fields_are_invalid(
    message: Update | PayloadFrame | Heartbeat, needed: int
) -> None:
    kind = message.body()[:1]
    for count in range(needed):
        with pytest.raises(FrameInvalid, match=f"{count} fields, at least {needed} needed"):
            parse_body(kind + encode(message[:count]))


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (FeedKind.UPDATE, ["7", 1, [], 0], "'7' is no integer"),
        (FeedKind.UPDATE, [7, None, [], 0], "None is no integer"),
        (FeedKind.UPDATE, [7, 1, 3, 0], "changes=3 are no pairs"),
        (FeedKind.UPDATE, [7, 1, [3], 0], r"changes=\[3\] are no pairs"),
        (FeedKind.UPDATE, [7, 1, [3, 1.5], 0], "1.5 is no integer"),
        (FeedKind.UPDATE, [7, 1, [3, True], 0], "True is no integer"),
        (FeedKind.UPDATE, [7, 1, [3, 1], 0, "1"], "'1' is no integer"),
        (FeedKind.PAYLOAD, [-1, 2, "n", 0, b"t"], "-1 is no natural number"),
        (FeedKind.PAYLOAD, [7, 2, b"n", 0, b"t"], "name=b'n'"),
        (FeedKind.PAYLOAD, [7, 2, "n", 0, "t"], "token='t'"),
        (FeedKind.PAYLOAD, [7, 2, "n", 0, b"t", 5], "source_tx=5"),
        (FeedKind.HEARTBEAT, [7, None], "None is no natural number"),
        (FeedKind.HEARTBEAT, [True, 1], "True is no natural number"),
        (0, [7, 1, [], 0], "unknown kind 0"),
        (99, [7, 1, [], 0], "unknown kind 99"),
    ],
)
def test_what_is_wrong_is_named(kind: int, fields: list[object], said: str) -> None:
    with pytest.raises(FrameInvalid, match=said):
        parse_body(bytes([kind]) + encode(fields))


@pytest.mark.parametrize("body", [b"", b"\x01"])
def test_a_body_without_content_is_invalid(body: bytes) -> None:
    with pytest.raises(FrameInvalid, match=f"a feed message of {len(body)} bytes"):
        parse_body(body)
