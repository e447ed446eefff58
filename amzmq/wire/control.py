"""Messages of a conversation: one msgpack array each (design decision 6).

    client                                    source
      Hello  ─────────────────────────────────►         who I am, which schema I know
             ◄─────────────────────────────── Welcome   the stream to subscribe, the schema
      Sync   ─────────────────────────────────►         once subscribed: what I have
             ◄─────────── SnapshotReply or CatchUp      what I miss
      Mutate ─────────────────────────────────►
             ◄───────────────────────────────── Reply   the result, and updates not seen yet
      Ping   ─────────────────────────────────►         how far I am
             ◄────────────────────────────────── Pong
             ◄────────────────────────────── Directed   a payload for this client alone
      Ack    ─────────────────────────────────►         taken, or why not
      Watch  ─────────────────────────────────►         tell me when this happens at the source
             ◄─────────────────────────────── Watched
      Unwatch ────────────────────────────────►
             ◄────────────────────────────── NsReport   what became of mutations without reply
      List   ─────────────────────────────────►         which machines there are; without Hello
             ◄─────────────────────────────── Listing
      Fetch  ─────────────────────────────────►         chunks of a blob that was offered
             ◄───────────────────────────────── Chunk   one of them, its bytes beside it
      Follow ─────────────────────────────────►         one more machine over this connection
             ◄────────────────────────────── Followed   its stream, its schema
      Unfollow ◄──────────────────────────────►         that stream is of no interest, or ended
      Bye    ◄────────────────────────────────►         a planned end
             ◄─────────────────────────────── Refusal   no, and why

Arrays only ever grow at the end: unknown further fields are ignored, missing ones of later
versions have defaults.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, TypeAlias

from amzmq.wire.codec import Value

PROTOCOL_VERSION = 1

NEWS = "news"
"""The capability of a client that wants to hear of machines that are served later."""


class RefusalCode(enum.IntEnum):
    """Why the source says no."""

    VERSION = 1
    """The protocol versions have nothing in common. Permanent."""
    NO_SESSION = 2
    """The source does not know this connection: say Hello."""
    BAD_REQUEST = 3
    """The request cannot be understood or done. Permanent."""
    MACHINE_UNKNOWN = 4
    """No machine of that id is served here. Permanent."""
    STOPPING = 5
    """The source is going away: try again later."""
    NO_ACCESS = 6
    """This client may not. Permanent."""
    UNREACHABLE = 7
    """What is served here is a replica, and its own source is away: nothing was done."""
    OUTCOME_UNKNOWN = 8
    """What is served here is a replica, and its own source did not say what became of it."""
    SCHEMA = 9
    """The schema, or the view of it, that the client wants does not fit. Permanent."""
    BLOB_UNKNOWN = 10
    """No such blob is offered, or no longer. Permanent."""
    LIMIT = 11
    """Too many, too much or too fast; the reason names the limit."""


class Hello(NamedTuple):
    """A client introduces itself.

    Attributes:
        version: The protocol it speaks.
        client_id: Id of the client's machine.
        incarnation: 8 random bytes of this client object; a reconnect keeps them.
        schema_hash: Of the schema it knows; b"" for none.
        machine_id: The machine it wants; "" for whichever is served.
        view: As of `View.value`; None for everything.
        capabilities: What it can do besides, by name; unknown ones are ignored.
    """

    version: int
    client_id: str
    incarnation: bytes
    schema_hash: bytes
    machine_id: str = ""
    view: list[Value] | None = None
    capabilities: list[Value] | None = None


class Welcome(NamedTuple):
    """The source takes a client.

    Attributes:
        version: The protocol it speaks.
        epoch: 8 random bytes of the stream's source; another epoch means that it was restarted.
        stream_id: What to subscribe on the feed.
        feed: The feed's endpoint, as bound.
        machine_id: Id of the machine served.
        heartbeat_ms: How often the source beats.
        schema: As of `schema_value`; None when the client knows it.
        resumed: Whether the source remembers the calls of this incarnation.
        request_limit: Bytes of the largest request it reads; 0 if it did not say.
        tracked: Indexes of the states in the view; None for all.
        path: Ids of the nodes between the machine and this one, the machine's owner first.
        groups: Names of groups of states to lists of their indexes; None without any.
        capabilities: What it can do besides, by name; unknown ones are ignored.
    """

    version: int
    epoch: bytes
    stream_id: bytes
    feed: str
    machine_id: str
    heartbeat_ms: int
    schema: Value = None
    resumed: bool = False
    request_limit: int = 0
    tracked: list[int] | None = None
    path: list[Value] | None = None
    groups: dict[str, Value] | None = None
    capabilities: list[Value] | None = None


class Sync(NamedTuple):
    """What the client has; the source answers with what it misses.

    Attributes:
        request: Comes back in the answer.
        epoch: The epoch of `number`; b"" to get a snapshot.
        number: The newest message applied.
        schema_hash: Of the schema it knows; b"" for that of the Welcome.
        stream_id: Which of the streams that it follows; b"" for that of the Welcome.
    """

    request: int
    epoch: bytes
    number: int
    schema_hash: bytes = b""
    stream_id: bytes = b""


class SnapshotReply(NamedTuple):
    """The answer to Sync when the journal does not reach.

    Attributes:
        request: Of the Sync.
        number, ticks, queue_tick, machine_tick, payloads, checksum: As of `Snapshot`.
        schema: As of `schema_value`, if it is not the one that the client knows.
        tracked: Indexes of the states in the view, with `schema`; None for all.
    """

    request: int
    number: int
    ticks: list[int]
    queue_tick: int
    machine_tick: int
    payloads: int
    checksum: int
    schema: Value = None
    tracked: list[int] | None = None


class CatchUp(NamedTuple):
    """The answer to Sync from the journal.

    Attributes:
        request: Of the Sync.
        bodies: The messages after its number; as many as fit.
        head: The stream's number, if the bodies do not reach it: ask again.
    """

    request: int
    bodies: list[bytes]
    head: int = 0


class Mutate(NamedTuple):
    """A mutation of the source.

    Attributes:
        request: Comes back in the reply; 0 wants none. A retry keeps it.
        type: A `MutationType` other than eval.
        called: State indexes.
        args: Arguments, or None.
        number: The newest message the caller has applied; the reply carries what follows.
        source: Machine id, transition id and time sum of the event it was made with, if any.
    """

    request: int
    type: int
    called: list[int]
    args: dict[str, Value] | None
    number: int
    source: list[Value] | None = None


class Reply(NamedTuple):
    """The outcome of a mutation.

    Attributes:
        request: Of the Mutate.
        result: As `Result`.
        bodies: The messages after the caller's number; empty when they are too many.
        head: The stream's number after the mutation, if the bodies do not reach it.
    """

    request: int
    result: int
    bodies: list[bytes]
    head: int = 0


class Ping(NamedTuple):
    """The client is alive.

    Attributes:
        number: The newest message applied.
        payloads_failed: How many payloads for everybody it could not make use of, so far.
        others: [stream id, number] of each further stream that it follows; None without any.
    """

    number: int
    payloads_failed: int = 0
    others: list[Value] | None = None


class Pong(NamedTuple):
    """The source is alive.

    Attributes:
        number: The newest message of the stream.
        every: The feed's heartbeats for each Ping that the source wants from now on.
    """

    number: int
    every: int = 1


class Directed(NamedTuple):
    """A payload for one client.

    Attributes:
        ordinal: Of this payload for this client; acknowledged by it.
        after: Deliver once this message of the stream is applied.
        name, data, token, source_tx, blob, source: As in `PayloadFrame`.
    """

    ordinal: int
    after: int
    name: str
    data: Value
    token: bytes
    source_tx: str = ""
    blob: list[Value] | None = None
    source: str = ""


class Ack(NamedTuple):
    """Directed payloads have arrived.

    Attributes:
        ordinal: All up to this one have.
        failed: (ordinal, reason) of those that nobody could make use of, if any.
    """

    ordinal: int
    failed: list[Value] | None = None


class WatchKind(enum.IntEnum):
    """What can only be seen at the source."""

    ARGS = 1
    """The activation of a state with certain arguments."""
    QUEUE_ENDS = 2
    """The end of the source's queue."""


class Watch(NamedTuple):
    """Tell me once, when this happens.

    Attributes:
        request: Comes back in the answer; a repetition keeps it.
        kind: A `WatchKind`.
        called: State indexes: the state, for ARGS.
        args: The arguments to be equal, for ARGS.
        number: The newest message that the caller has applied.
    """

    request: int
    kind: int
    called: list[int]
    args: dict[str, Value] | None
    number: int


class Watched(NamedTuple):
    """It has happened.

    Attributes:
        request: Of the Watch.
        head: The stream's number by then.
    """

    request: int
    head: int


class Unwatch(NamedTuple):
    """It is of no interest any more."""

    request: int


class NsReport(NamedTuple):
    """What became of the mutations that want no reply, since the conversation's client came.

    Attributes:
        received: All that arrived.
        canceled: Of these, those that were canceled.
        refused: Of these, those that could not be run.
        reason: Of the last one refused; "" if none was.
    """

    received: int
    canceled: int
    refused: int
    reason: str


class List(NamedTuple):
    """Which machines are served here? Needs no Hello."""

    request: int


class Listing(NamedTuple):
    """The machines served.

    Attributes:
        request: Of the List.
        machines: A list for each: id, number of states, sum of ticks, active states, tags,
            parent's id, path, number of clients.
    """

    request: int
    machines: list[Value]


class Fetch(NamedTuple):
    """Send chunks of a blob that was offered.

    Attributes:
        token: Of the blob.
        offset: The first byte wanted.
        chunks: How many may be sent before the next Fetch.
    """

    token: bytes
    offset: int
    chunks: int


class Chunk(NamedTuple):
    """A part of a blob; its bytes are in the frame behind.

    Attributes:
        token: Of the blob.
        offset: Of its first byte.
        size: Its bytes, uncompressed.
        encoding: "" for plain bytes, else how they are compressed.
    """

    token: bytes
    offset: int
    size: int
    encoding: str = ""


class Follow(NamedTuple):
    """One more machine, over this connection; to be read only.

    Attributes:
        request: Comes back in the answer.
        machine_id: The machine.
        view: As of `View.value`; None for everything.
        schema_hash: Of the schema that is known; b"" for none.
    """

    request: int
    machine_id: str
    view: list[Value] | None = None
    schema_hash: bytes = b""


class Followed(NamedTuple):
    """The source takes the client for one more machine.

    Attributes:
        request: Of the Follow.
        stream_id, epoch, machine_id, schema, tracked, path, groups: As in `Welcome`.
    """

    request: int
    stream_id: bytes
    epoch: bytes
    machine_id: str
    schema: Value = None
    tracked: list[int] | None = None
    path: list[Value] | None = None
    groups: dict[str, Value] | None = None


class Unfollow(NamedTuple):
    """A stream of `Followed` is of no interest any more; or, from the source, it has ended."""

    stream_id: bytes
    reason: str = ""


class Bye(NamedTuple):
    """A planned end.

    Attributes:
        reason: For people.
        heads: [stream id, number] of the last message of each stream that the client follows, from
            the source; nothing comes after it.
    """

    reason: str
    heads: list[Value] | None = None


class Refusal(NamedTuple):
    """No.

    Attributes:
        request: Of what is refused; 0 for the conversation.
        code: A `RefusalCode`.
        reason: For people.
        token: Of the blob that is refused; b"" otherwise.
    """

    request: int
    code: int
    reason: str
    token: bytes = b""


Message: TypeAlias = (
    Hello | Welcome | Sync | SnapshotReply | CatchUp | Mutate | Reply | Ping | Pong
    | Directed | Ack | Bye | Refusal | Watch | Watched | Unwatch | NsReport | List | Listing
    | Fetch | Chunk | Follow | Followed | Unfollow
)  # fmt: skip
