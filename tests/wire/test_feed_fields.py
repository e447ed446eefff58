"""Messages of the feed, field by field: what they take, and what they refuse by name."""

from __future__ import annotations

import pytest

from amzmq.errors import FrameInvalid
from amzmq.machine.resolver import MutationType
from amzmq.wire.codec import decode, encode
from amzmq.wire.feed import FeedKind, PayloadFrame, SchemaFrame, Update, parse_body

PAYLOAD: list[object] = [1, 1, "name", None, b"token", "tx", [10, 4, b""], "src"]
UPDATE: list[object] = [1, 2, [0, 1], 9, 3, 0, [1]]
SCHEMA: list[object] = [1, [["A", 0, [], [], [], [], []]], [0]]


def body(kind: FeedKind, fields: list[object]) -> bytes:
    return bytes([kind]) + encode(fields)


def said(message: PayloadFrame | Update) -> list[object]:
    """The fields that travel."""
    fields = decode(message.body()[1:])
    assert isinstance(fields, list)
    return fields


@pytest.mark.parametrize(
    ("rest", "fields"),
    [
        ({}, 5),
        ({"source_tx": "tx"}, 6),
        ({"blob": [1, 1]}, 7),
        ({"source": "src"}, 8),
        ({"source_tx": "tx", "source": "src"}, 8),
    ],
)
def test_a_payload_leaves_out_the_last_fields_that_say_nothing(
    rest: dict[str, object], fields: int
) -> None:
    message = PayloadFrame(1, 1, "name", 7, b"token", **rest)  # type: ignore[arg-type]
    assert len(said(message)) == fields
    assert parse_body(message.body()) == message


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (Update(1, 2, [0, 1], 9), 4),
        (Update(1, 2, [0, 1], 9, 3), 5),
        (Update(1, 2, [0, 1], 9, 0, MutationType.ADD, [0]), 7),
        (Update(1, 2, [0, 1], 9, 3, MutationType.SET, [0, 1]), 7),
    ],
)
def test_an_update_leaves_out_the_last_fields_that_say_nothing(
    message: Update, fields: int
) -> None:
    assert len(said(message)) == fields
    assert parse_body(message.body()) == message


def test_an_update_may_tell_its_kind_without_any_called_state() -> None:
    parsed = parse_body(body(FeedKind.UPDATE, UPDATE[:6]))
    assert parsed == Update(1, 2, [0, 1], 9, 3, MutationType.ADD)


@pytest.mark.parametrize("kind", [-1, -7, 4, 99])
def test_the_kind_of_an_update_is_one_of_a_mutation_or_none(kind: int) -> None:
    parsed = parse_body(body(FeedKind.UPDATE, [1, 2, [0, 1], 9, 3, kind, [1]]))
    assert parsed == Update(1, 2, [0, 1], 9, 3)


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, "1", "update: '1' is no integer"),
        (1, None, "update: None is no integer"),
        (2, [0], "update: changes=.* are no pairs"),
        (2, {}, "update: changes=.* are no pairs"),
        (2, [0, 1.5], "update: 1.5 is no integer"),
        (3, True, "update: True is no integer"),
        (4, "x", "update: 'x' is no integer"),
        (5, [], r"update: \[\] is no integer"),
        (6, 5, "update: called=5 is no list"),
        (6, "ab", "update: called='ab' is no list"),
        (6, ["x"], "update: 'x' is no integer"),
    ],
)
def test_a_wrong_field_of_an_update_is_named(at: int, value: object, why: str) -> None:
    assert parse_body(body(FeedKind.UPDATE, UPDATE))
    with pytest.raises(FrameInvalid, match=f"^{why}$"):
        parse_body(body(FeedKind.UPDATE, [*UPDATE[:at], value, *UPDATE[at + 1 :]]))


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, -1, "payload: -1 is no natural number"),
        (1, "x", "payload: 'x' is no natural number"),
        (1, True, "payload: True is no natural number"),
        (2, b"name", "payload: name=b'name' .*"),
        (4, "token", "payload: .*token='token' .*"),
        (5, 1, "payload: .*source_tx=1"),
        (6, "x", "payload: blob='x' .*"),
        (7, 1, "payload: .*source=1"),
    ],
)
def test_a_wrong_field_of_a_payload_is_named(at: int, value: object, why: str) -> None:
    assert parse_body(body(FeedKind.PAYLOAD, PAYLOAD)) == PayloadFrame(*PAYLOAD)  # type: ignore[arg-type]
    with pytest.raises(FrameInvalid, match=f"^{why}$"):
        parse_body(body(FeedKind.PAYLOAD, [*PAYLOAD[:at], value, *PAYLOAD[at + 1 :]]))


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, -1, "schema change: -1 is no natural number"),
        (0, "x", "schema change: 'x' is no natural number"),
        (2, 5, "schema change: tracked=5 is no list"),
        (2, [0, -1], "schema change: -1 is no natural number"),
        (2, ["x"], "schema change: 'x' is no natural number"),
    ],
)
def test_a_wrong_field_of_a_schema_change_is_named(at: int, value: object, why: str) -> None:
    assert parse_body(body(FeedKind.SCHEMA, SCHEMA)) == SchemaFrame(*SCHEMA)  # type: ignore[arg-type]
    with pytest.raises(FrameInvalid, match=f"^{why}$"):
        parse_body(body(FeedKind.SCHEMA, [*SCHEMA[:at], value, *SCHEMA[at + 1 :]]))


@pytest.mark.parametrize(
    ("kind", "name", "least"),
    [
        (FeedKind.UPDATE, "update", 4),
        (FeedKind.PAYLOAD, "payload", 5),
        (FeedKind.HEARTBEAT, "heartbeat", 2),
        (FeedKind.SCHEMA, "schema change", 3),
    ],
)
def test_a_message_of_too_few_fields_is_named_and_further_ones_are_ignored(
    kind: FeedKind, name: str, least: int
) -> None:
    whole: list[object] = {
        FeedKind.UPDATE: UPDATE,
        FeedKind.PAYLOAD: PAYLOAD,
        FeedKind.HEARTBEAT: [1, 9],
        FeedKind.SCHEMA: SCHEMA,
    }[kind]
    with pytest.raises(FrameInvalid, match=f"^{name}: {least - 1} fields, at least {least} needed"):
        parse_body(body(kind, whole[: least - 1]))
    parse_body(body(kind, whole[:least]))
    assert parse_body(body(kind, [*whole, "more"])) == parse_body(body(kind, whole))


@pytest.mark.parametrize("fields", [[-1, 9], [1, -9], [1, True], ["x", 9]])
def test_a_heartbeat_is_of_natural_numbers(fields: list[object]) -> None:
    with pytest.raises(FrameInvalid, match="^heartbeat: .* is no natural number"):
        parse_body(body(FeedKind.HEARTBEAT, fields))


@pytest.mark.parametrize("data", [b"", b"\x01"])
def test_a_message_has_a_kind_and_something_behind_it(data: bytes) -> None:
    with pytest.raises(FrameInvalid, match=f"a feed message of {len(data)} bytes"):
        parse_body(data)
