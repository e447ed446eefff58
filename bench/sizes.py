"""What our frames measure, so that the limits carry as many bytes.

Asked of the code that makes them, because a constant would be forgotten when they change.
"""

from __future__ import annotations

from amzmq.machine import MutationType
from amzmq.machine.compiled import compile_schema
from amzmq.wire.control import Mutate, Reply, to_frame
from amzmq.wire.writer import StreamWriter
from bench.scenario import SCHEMA

# Numbers take one byte below 128, two below 256, three below 65,536: runs are mostly here.
TYPICAL = 1_000

_INDEX = list(SCHEMA).index("H")


def update_bytes() -> int:
    """A feed frame that tells of one state."""
    return len(_update(_writer()))


def request_bytes() -> int:
    """A remote add of one state."""
    return len(to_frame(Mutate(TYPICAL, MutationType.ADD, [_INDEX], None, TYPICAL)))


def reply_bytes() -> int:
    """Its reply, with the update it caused."""
    writer = _writer()
    _update(writer)
    bodies = writer.since(writer.head - 1)
    assert bodies is not None
    return len(to_frame(Reply(TYPICAL, 0, bodies)))


def _writer() -> StreamWriter:
    writer = StreamWriter(b"bench/00", b"epoch/00", compile_schema(SCHEMA))
    for _ in range(TYPICAL):
        _update(writer)
    return writer


def _update(writer: StreamWriter) -> bytes:
    frame = writer.update([(_INDEX, writer.head + 1)], writer.head + 1, 0)
    assert frame is not None
    return frame
