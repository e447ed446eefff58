"""The decoders that take bytes and know nothing of connections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from amzmq.errors import AmzmqError, FrameInvalid, InvalidArgs
from amzmq.machine import Machine, State
from amzmq.rpc.listing import MachineInfo
from amzmq.wire import control
from amzmq.wire.blobs import BlobDamaged, BlobOffer, BlobReader
from amzmq.wire.codec import check_content, decode, encode
from amzmq.wire.compression import compress, decompress
from amzmq.wire.control import Chunk
from amzmq.wire.control_frames import from_frame, to_frame
from amzmq.wire.feed import Heartbeat, PayloadFrame, SchemaFrame, Update, parse_body
from amzmq.wire.journal import Journal, JournalLimits
from amzmq.wire.schema import schema_from_value, schema_value
from amzmq.wire.view import EVERYTHING, Scope, View
from tests.fuzz.target import Finding, Play, Target, Traces

MACHINE = Machine({"A": State(auto=True), "B": State(require="A"), "C": State(multi=True)})
SCHEMA = schema_value(MACHINE.compiled)
VIEW = View(False, frozenset(["A", "Exception"]), frozenset(["B"]), True).value()
TYPED: list[object] = [
    datetime(2024, 2, 29, tzinfo=UTC), Decimal("1.50"), UUID(int=7), {1, 2}, frozenset("ab"),
    {"inner": [datetime(2024, 1, 1).time(), datetime(2024, 1, 1).date()]},
]  # fmt: skip

MESSAGES: list[control.Message] = [
    control.Hello(1, "rc-x", b"12345678", b"", "src", VIEW, ["zstd", control.NEWS]),
    control.Hello(1, "rc-y", b"12345678", b""),
    control.Welcome(1, b"epoch-01", b"streamid", "mem://f", "src", 1000, SCHEMA, True, 1 << 20,
                    [0, 1], ["src"], {"g": [0]}, []),
    control.Sync(1, b"epoch-01", 3, b"12345678", b"streamid"),
    control.SnapshotReply(1, 3, [1, 0, 2, 0], 5, 2, 0, 7, SCHEMA, [0]),
    control.CatchUp(1, [Update(4, 1, [0, 1], 9).body()], 7),
    control.Mutate(7, 0, [0, 1], {"a": [1, "x", None]}, 5, ["m", "t", 3]),
    control.Mutate(8, 1, [0], None, 5),
    control.Reply(7, 1, [Update(4, 1, [0, 1], 9).body()], 0),
    control.Ping(3, 1, [[b"streamid", 4]]),
    control.Pong(3),
    control.Directed(1, 3, "name", {"k": TYPED}, b"token", "tx", [10, 4, b""], "src"),
    control.Ack(1, [[1, "why"]]),
    control.Watch(3, 1, [0], {"a": 1}, 2),
    control.Watched(3, 4),
    control.Unwatch(3),
    control.NsReport(3, 1, 1, "why"),
    control.List(1),
    control.Listing(1, [["src", 4, 3, ["A"], ["tag"], "", ["src"], 1, ["door.Args"]]]),
    control.Fetch(b"token", 0, 8),
    control.Chunk(b"token", 0, 4, ""),
    control.Follow(1, "src", VIEW, b""),
    control.Followed(1, b"streamid", b"epoch-01", "src", SCHEMA, [0], ["src"], {"g": [0]}),
    control.Unfollow(b"streamid", "gone"),
    control.Bye("so long"),
    control.Refusal(7, 3, "no", b"token"),
]  # fmt: skip
BODIES = [
    Update(1, 1, [0, 1], 9).body(),
    Update(2, 3, [1, 2, 3, 4], 2**32 - 1, 1).body(),
    Update(3, 3, [1, 2], 5, 1, 0, [1]).body(),
    PayloadFrame(4, 1, "name", {"k": [1.5, b"x"]}, b"12345678", "tx", [10, 4, b""], "src").body(),
    Heartbeat(4, 77).body(),
    Heartbeat(4, 77, True).body(),
    SchemaFrame(5, SCHEMA, [0, 1]).body(),
]


def _codec(data: bytes) -> None:
    """What was read can be written, and is read as the same bytes from then on."""
    with suppress(FrameInvalid):
        value = decode(data)
        try:
            check_content(value)
            again = encode(value)
        except InvalidArgs:
            return  # an extension of nobody, or nested too deep to be sent on
        if encode(decode(again)) != again and not _has_set(value):
            raise Finding(f"{value!r} changes on its way")


def _has_set(value: object) -> bool:
    """A set has no order, so it need not be written alike twice."""
    return "set(" in repr(value) or "{" in repr(value) or "Unregistered" in repr(value)


def _control(data: bytes) -> None:
    with suppress(FrameInvalid):
        message = from_frame(data)
        with suppress(InvalidArgs):
            if type(from_frame(to_frame(message))) is not type(message):
                raise Finding(f"{message!r} turns into another message")


def _feed(data: bytes) -> None:
    with suppress(FrameInvalid):
        message = parse_body(data)
        with suppress(InvalidArgs):
            if type(parse_body(message.body())) is not type(message):
                raise Finding(f"{message!r} turns into another message")


def _packed(read: Callable[[Any], object]) -> Callable[[Traces], Play]:
    """The readers of values that `decode` gave."""

    def play(data: bytes) -> None:
        with suppress(AmzmqError):
            read(decode(data))

    return lambda traces: play


def _schema(value: object) -> None:
    schema = schema_from_value(value)
    if schema_from_value(schema_value(schema)).names != schema.names:
        raise Finding(f"{value!r} changes on its way")


def _view(value: object) -> None:
    if value is None or isinstance(value, list):  # the form of Hello sees to that
        view = View.from_value(value)
        if View.from_value(view.value()) != view:
            raise Finding(f"{value!r} changes on its way")
        Scope(view, MACHINE.compiled)


def _compression(value: object) -> None:
    if isinstance(value, list) and len(value) == 3:
        encoding, data, size = value
        # The form of Chunk, and the reader of blobs, see to these.
        if isinstance(encoding, str) and isinstance(data, bytes) and type(size) is int:
            size = max(0, min(size, 1 << 16))
            if len(decompress(encoding, data, size)) != size:
                raise Finding("decompressed to another size than was asked for")


def _compressed_seeds() -> list[bytes]:
    plain = b"amzmq " * 100
    packed = compress(plain) or b""
    return [encode(["zstd", packed, len(plain)]), encode(["zstd", packed, 1]), encode(["", b"", 0])]


def _blobs(value: object) -> None:
    """An offer, and the chunks that follow: [facts, [offset, size, encoding, data], ...]."""
    if not isinstance(value, list) or not value or not isinstance(value[0], list):
        return
    offer = BlobOffer.from_facts(value[0])
    reader = BlobReader(b"token", offer, 2)
    for row in value[1:]:
        reader.fetch()
        match row:
            case [int(offset), int(size), str(encoding), bytes(data)] if min(offset, size) >= 0:
                try:
                    got = reader.receive(Chunk(b"token", offset, size, encoding), data)
                except BlobDamaged:
                    reader.restart()
                else:
                    reader.took(len(got or b""))
        if not 0 <= reader.offset <= offer.size or reader.in_flight < 0:
            raise Finding(f"at byte {reader.offset} of {offer.size}")


def _blob_seeds() -> list[bytes]:
    chunks = [[at, 4, "", b"abcd"] for at in (0, 4, 8)]
    return [
        encode([[12, 4, b""], *chunks]),
        encode([[5, 4], [0, 4, "", b"abcd"], [4, 1, "", b"e"]]),
    ]


def _journal(value: object) -> None:
    """[messages, bytes, then: bytes to append, a list to extend, a number to ask or restart]."""
    match value:
        case [int(messages), int(size), *steps] if min(messages, size) >= 0:
            _journal_steps(Journal(JournalLimits(messages, size)), messages, size, steps)


def _journal_steps(journal: Journal, messages: int, size: int, steps: list[object]) -> None:
    said: dict[int, bytes] = {}
    for step in steps:
        match step:
            case bytes(body):
                said[journal.head + 1] = body
                journal.append(body)
            case [*bodies] if all(isinstance(body, bytes) for body in bodies):
                said.update(enumerate(bodies, journal.head + 1))  # type: ignore[arg-type]
                journal.extend(bodies)  # type: ignore[arg-type]
            case int(number) if number < 0:
                journal.restart(-number)
                said.clear()
            case int(number):
                since = journal.since(number)
                if since is not None and since != [
                    said[at] for at in range(number + 1, journal.head + 1)
                ]:
                    raise Finding(f"since({number}) is not what was said")
        if journal.size_bytes > size or journal.head - journal.oldest >= messages:
            raise Finding(f"{journal.size_bytes} bytes are kept")


TARGETS = [
    Target("codec", lambda traces: _codec, lambda: [encode(TYPED), encode({"a": [1, 2.5, b"x"]})]),
    Target("control", lambda traces: _control, lambda: [to_frame(message) for message in MESSAGES]),
    Target("feed", lambda traces: _feed, lambda: BODIES, prefix=1),
    Target("schema", _packed(_schema), lambda: [encode(SCHEMA)]),
    Target("view", _packed(_view), lambda: [encode(VIEW), encode(EVERYTHING.value())]),
    Target("listing", _packed(MachineInfo.from_value), lambda: [
        encode(["src", 4, 3, ["A"], ["tag"], "", ["src"], 1, ["door.Args"]])]),
    Target("compression", _packed(_compression), _compressed_seeds),
    Target("blobs", _packed(_blobs), _blob_seeds),
    Target("journal", _packed(_journal), lambda: [
        encode([3, 100, b"a", b"bb", 1, 0, [b"c", b"d"], 2, -7, b"e", 7])]),
]  # fmt: skip
