"""What travels: messages, diffs and how they are applied, checksums, the journal.

Sans-I/O: bytes in, objects out; no sockets, no clock of its own.
"""

from amzmq.wire.checksum import ClockSum
from amzmq.wire.codec import decode, encode
from amzmq.wire.feed import FeedKind, Heartbeat, PayloadFrame, Update
from amzmq.wire.journal import Journal
from amzmq.wire.reader import ReaderSink, StreamReader
from amzmq.wire.writer import Snapshot, StreamWriter

__all__ = [
    "ClockSum",
    "FeedKind",
    "Heartbeat",
    "Journal",
    "PayloadFrame",
    "ReaderSink",
    "Snapshot",
    "StreamReader",
    "StreamWriter",
    "Update",
    "decode",
    "encode",
]
