"""Messages of the feed: ``stream id (8) | kind (1) | msgpack array`` (design decision 6).

A *body* is a message without its stream id: that is what the journal keeps and what replies
carry. Arrays only ever grow at the end: unknown further fields are ignored.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from amzmq.errors import FrameInvalid, InvalidArgs
from amzmq.machine.resolver import MutationType
from amzmq.wire.codec import Value, check_content, decode_array, encode

STREAM_ID_SIZE = 8
_KIND_AT = STREAM_ID_SIZE
_MUTATION_KINDS = frozenset(map(int, MutationType))


class FeedKind(enum.IntEnum):
    """The kind byte."""

    UPDATE = 1
    PAYLOAD = 2
    HEARTBEAT = 3
    SCHEMA = 4


HEARTBEAT_BYTE = bytes([FeedKind.HEARTBEAT])
UPDATE_BYTE = bytes([FeedKind.UPDATE])
_PAYLOAD = bytes([FeedKind.PAYLOAD])
_SCHEMA = bytes([FeedKind.SCHEMA])


class Update(NamedTuple):
    """A diff of the clock.

    Attributes:
        number: Of this message in its stream.
        queue_ticks: Added to the queue tick.
        changes: (index, ticks added), as one flat list.
        checksum: Of the clock afterwards.
        machine_ticks: Added to the machine tick.
        kind: The `MutationType` of the mutation that made it, -1 for a merged update, and for
            a kind that is not known here.
        called: Indexes of the states that the mutation called.
    """

    number: int
    queue_ticks: int
    changes: list[int]
    checksum: int
    machine_ticks: int = 0
    kind: int = -1
    called: Sequence[int] = ()

    def body(self) -> bytes:
        """Encode."""
        if self.kind >= 0:
            return UPDATE_BYTE + encode(self)
        return UPDATE_BYTE + encode(self[:5] if self.machine_ticks else self[:4])


class PayloadFrame(NamedTuple):
    """A payload for everybody.

    Attributes:
        number: Of this message in its stream.
        ordinal: Of this payload among the stream's payloads, so that lost ones can be counted.
        name: Which kind of payload, for the receiver.
        data: Anything that has a form on the wire.
        token: Unique to this payload.
        source_tx: Id of the transition it was sent from; "" if from none.
        blob: Size and chunk size in bytes, and further facts, of a blob that can be fetched by
            `token`; None for a payload that is complete.
        source: Id of the machine that sent it; "" for the stream's own.
    """

    number: int
    ordinal: int
    name: str
    data: Value
    token: bytes
    source_tx: str = ""
    blob: list[Value] | None = None
    source: str = ""

    def body(self) -> bytes:
        """Encode.

        Raises:
            InvalidArgs: `data` has no form on the wire.
        """
        try:
            body = _PAYLOAD + encode(self[: self._needed()])
        except InvalidArgs:
            encode(self.data)  # names what the user gave, not the message around it
            raise
        check_content(self.data)
        return body

    def _needed(self) -> int:
        """How many fields say something: the last ones are left out when they do not."""
        if self.source:
            return 8
        if self.blob is not None:
            return 7
        return 6 if self.source_tx else 5


class Heartbeat(NamedTuple):
    """Where the stream is; not numbered itself.

    Attributes:
        number: Of the stream's newest message.
        checksum: Of the clock there.
        is_stale: Whether who says so has lost its own source: the clock was so then.
    """

    number: int
    checksum: int
    is_stale: bool = False

    def body(self) -> bytes:
        """Encode."""
        return HEARTBEAT_BYTE + encode(self if self.is_stale else self[:2])


class SchemaFrame(NamedTuple):
    """The machine's schema has changed: more states, or another order.

    Attributes:
        number: Of this message in its stream.
        schema: As of `schema_value`.
        tracked: Indexes of the states in the view; None for all.
    """

    number: int
    schema: Value
    tracked: list[int] | None = None

    def body(self) -> bytes:
        """Encode."""
        return _SCHEMA + encode(self)


FeedMessage: TypeAlias = Update | PayloadFrame | Heartbeat | SchemaFrame


def parse_body(body: bytes) -> FeedMessage:
    """Decode a message without its stream id.

    Raises:
        FrameInvalid: The bytes are no message of the feed.
    """
    if len(body) < 2:
        raise FrameInvalid(f"a feed message of {len(body)} bytes")
    kind = body[0]
    fields = decode_array(body[1:])
    if kind == FeedKind.UPDATE:
        return _update(fields)
    if kind == FeedKind.HEARTBEAT:
        _check("heartbeat", fields, 2)
        _check_naturals("heartbeat", fields[:2])
        number, checksum, *more = fields
        return Heartbeat(number, checksum, more[:1] == [True])  # type: ignore[arg-type]
    if kind == FeedKind.PAYLOAD:
        return _payload(fields)
    if kind == FeedKind.SCHEMA:
        return _schema(fields)
    raise FrameInvalid(f"a feed message of unknown kind {kind}")


def _update(fields: list[Value]) -> Update:
    _check("update", fields, 4)
    number, queue_ticks, changes, checksum = fields[:4]
    machine_ticks = fields[4] if len(fields) > 4 else 0
    kind = fields[5] if len(fields) > 5 else -1
    called = fields[6] if len(fields) > 6 else ()
    if not isinstance(changes, list) or len(changes) % 2:
        raise FrameInvalid(f"update: changes={changes!r} are no pairs")
    if not isinstance(called, (list, tuple)):
        raise FrameInvalid(f"update: called={called!r} is no list")
    for value in (number, queue_ticks, checksum, machine_ticks, kind, *changes, *called):
        if type(value) is not int:
            raise FrameInvalid(f"update: {value!r} is no integer")
    if kind not in _MUTATION_KINDS:
        kind, called = -1, ()
    return Update(number, queue_ticks, changes, checksum, machine_ticks, kind, called)  # type: ignore[arg-type]


def _schema(fields: list[Value]) -> SchemaFrame:
    _check("schema change", fields, 3)
    number, schema, tracked = fields[:3]
    _check_naturals("schema change", [number])
    if tracked is not None:
        if not isinstance(tracked, list):
            raise FrameInvalid(f"schema change: tracked={tracked!r} is no list")
        _check_naturals("schema change", tracked)
    return SchemaFrame(number, schema, tracked)  # type: ignore[arg-type]


def _payload(fields: list[Value]) -> PayloadFrame:
    _check("payload", fields, 5)
    _check_naturals("payload", fields[:2])
    number, ordinal, name, data, token = fields[:5]
    source_tx = fields[5] if len(fields) > 5 else ""
    blob = fields[6] if len(fields) > 6 else None
    source = fields[7] if len(fields) > 7 else ""
    if not isinstance(name, str) or not isinstance(token, bytes) or not isinstance(source_tx, str):
        raise FrameInvalid(f"payload: name={name!r} token={token!r} source_tx={source_tx!r}")
    if not (blob is None or isinstance(blob, list)) or not isinstance(source, str):
        raise FrameInvalid(f"payload: blob={blob!r} source={source!r}")
    return PayloadFrame(number, ordinal, name, data, token, source_tx, blob, source)  # type: ignore[arg-type]


def _check(what: str, fields: list[Value], least: int) -> None:
    if len(fields) < least:
        raise FrameInvalid(f"{what}: {len(fields)} fields, at least {least} needed")


def _check_naturals(what: str, values: list[Value]) -> None:
    for value in values:
        if type(value) is not int or value < 0:
            raise FrameInvalid(f"{what}: {value!r} is no natural number")
