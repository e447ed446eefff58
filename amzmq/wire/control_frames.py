"""Frames of the messages of a conversation: each one an array, its kind first."""

from __future__ import annotations

from amzmq.errors import FrameInvalid, InvalidArgs
from amzmq.wire.codec import Value, check_content, decode_array, encode
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
    Reply,
    SnapshotReply,
    Sync,
    Unfollow,
    Unwatch,
    Watch,
    Watched,
    Welcome,
)  # fmt: skip
from amzmq.wire.forms import Form

_KINDS: tuple[type[Message], ...] = (
    Hello, Welcome, Sync, SnapshotReply, CatchUp, Mutate, Reply, Ping, Pong, Directed, Ack, Bye,
    Refusal, Watch, Watched, Unwatch, NsReport, List, Listing, Fetch, Chunk, Follow, Followed,
    Unfollow,
)  # fmt: skip
_KIND_OF: dict[type[Message], int] = {cls: number for number, cls in enumerate(_KINDS, 1)}
_REPLY = _KIND_OF[Reply]
_MUTATE = _KIND_OF[Mutate]


_FORMS: dict[int, tuple[type[Message], Form]] = {
    _KIND_OF[cls]: (cls, Form(cls.__name__, letters, needed))
    for cls, letters, needed in (
        (Hello, "nsbbsLL", 4),
        (Welcome, "nbbssn*tnNLDL", 6),
        (Sync, "nbibb", 3),
        (SnapshotReply, "nnInnnn*N", 7),
        (CatchUp, "nBn", 2),
        (Mutate, "nnIDiL", 5),
        (Reply, "nnBn", 3),
        (Ping, "inL", 1),
        (Pong, "nn", 1),
        (Directed, "nns*bsLs", 5),
        (Ack, "nL", 1),
        (Bye, "sL", 1),
        (Refusal, "nnsb", 3),
        (Watch, "nnIDi", 5),
        (Watched, "nn", 2),
        (Unwatch, "n", 1),
        (NsReport, "nnns", 4),
        (List, "n", 1),
        (Listing, "nl", 2),
        (Fetch, "bnn", 3),
        (Chunk, "bnns", 3),
        (Follow, "nsLb", 2),
        (Followed, "nbbs*NLD", 4),
        (Unfollow, "bs", 1),
    )
}


def to_frame(message: Message) -> bytes:
    """Encode a message.

    Raises:
        InvalidArgs: Its content has no form on the wire.
    """
    if type(message) is Reply:  # by far the most frequent, and nothing of it is the user's
        return encode((_REPLY, *message))
    content: Value = None
    if isinstance(message, Directed):
        content = message.data
    elif isinstance(message, Mutate):
        content = message.args
    fields: tuple[Value, ...] = message
    if isinstance(message, Mutate) and message.source is None:
        fields = message[:5]
    elif isinstance(message, Sync) and not message.stream_id:
        fields = message[:4]
    elif isinstance(message, Ping) and message.others is None:
        fields = message[:2]
    elif (isinstance(message, Pong) and message.every == 1) or (
        isinstance(message, Bye) and message.heads is None
    ):
        fields = message[:1]
    try:
        frame = encode((_KIND_OF[type(message)], *fields))
    except InvalidArgs:
        encode(content)  # names what the user gave, not the message around it
        raise
    if content:
        check_content(content)
    return frame


def tail_of(message: Message) -> bytes:
    """The encoded fields of a message behind its first one, for `frame_with`."""
    return b"".join([encode(field) for field in message[1:]])


def frame_with(kind: type[Message], first: Value, tail: bytes) -> bytes:
    """The frame of a message of which only the first field differs from others.

    Args:
        kind: Which message.
        first: That field.
        tail: All others, as of `tail_of`.
    """
    size = 1 + len(kind._fields)
    return bytes((_SHORT_ARRAY | size,)) + encode(_KIND_OF[kind]) + encode(first) + tail


_SHORT_ARRAY = 0x90
"""What msgpack begins an array of up to 15 fields with; the size is added to it."""


def _reply(fields: list[Value]) -> Reply | None:
    """The most frequent answer in short; whatever is unusual is looked at field by field."""
    kind, request, result, bodies, head = fields
    if (
        kind == _REPLY
        and type(request) is type(result) is type(head) is int
        and min(request, result, head) >= 0
        and type(bodies) is list
        and all(type(body) is bytes for body in bodies)
    ):
        return Reply(request, result, bodies, head)
    return None


def _mutate(fields: list[Value]) -> Mutate | None:
    """The most frequent request in short: without arguments, and not made by an event."""
    if len(fields) != 6 or fields[0] != _MUTATE:
        return None
    _, request, type_, called, args, number = fields
    if (
        args is None
        and type(request) is type(type_) is type(number) is int
        and min(request, type_) >= 0
        and type(called) is list
        and all(type(state) is int for state in called)
    ):
        return Mutate(request, type_, called, None, number)
    return None


def from_frame(frame: bytes) -> Message:
    """Decode a message.

    Raises:
        FrameInvalid: The bytes are no message of this protocol.
    """
    fields = decode_array(frame)
    frequent = _reply(fields) if len(fields) == 5 else _mutate(fields)
    if frequent is not None:
        return frequent
    form = _FORMS.get(fields[0]) if fields and type(fields[0]) is int else None
    if form is None:
        raise FrameInvalid(f"a message of unknown kind {fields[0] if fields else None!r}")
    cls, known = form
    values = known.checked(fields[1:])
    return cls(*values)  # type: ignore[arg-type]
