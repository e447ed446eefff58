"""The source's end of a stream."""

from __future__ import annotations

import re
import tracemalloc

import pytest

from amzmq.errors import InvalidArgs
from amzmq.wire.checksum import ClockSum
from amzmq.wire.feed import Heartbeat, PayloadFrame, Update, parse_body
from amzmq.wire.journal import JournalLimits
from amzmq.wire.writer import Snapshot, StreamWriter

from .rig import ID, NAMES, writer_of


def writer(limits: JournalLimits | None = None) -> StreamWriter:
    made = writer_of(limits)
    made.begin(enumerate([0, 4, 0]), 5, 1)
    return made


def parsed(frame: bytes | None) -> object:
    assert frame is not None
    assert frame.startswith(ID)
    return parse_body(frame[len(ID) :])


def checksum(ticks: list[int], queue_tick: int, machine_tick: int) -> int:
    return ClockSum(NAMES).reset(ticks, queue_tick, machine_tick)


def test_what_a_stream_begins_with_is_in_the_snapshot_and_in_no_message() -> None:
    stream = writer()
    assert stream.head == 0
    assert stream.since(0) == []
    total = checksum([0, 4, 0], 5, 1)
    assert stream.snapshot() == Snapshot(0, (0, 4, 0), 5, 1, 0, total)


def test_an_update_tells_the_difference_and_the_checksum_afterwards() -> None:
    stream = writer()
    frame = stream.update([(0, 3), (1, 4), (2, 1)], 7, 1)
    assert parsed(frame) == Update(1, 2, [0, 3, 2, 1], checksum([3, 4, 1], 7, 1))
    frame = stream.update([(0, 4)], 7, 3)
    assert parsed(frame) == Update(2, 0, [0, 1], checksum([4, 4, 1], 7, 3), 2)
    assert (stream.head, stream.updates, stream.encoded) == (2, 2, 2)


def test_nothing_new_is_no_message_and_takes_no_number() -> None:
    stream = writer()
    assert stream.update([], 5, 1) is None
    assert stream.update([(0, 0), (1, 4)], 5, 1) is None
    assert (stream.head, stream.updates, stream.encoded) == (0, 0, 0)


def test_a_canceled_mutation_is_told_though_no_tick_has_changed() -> None:
    # Or the queue tick of all followers would stay behind for good (rpc spec 10.3, 1).
    stream = writer()
    assert parsed(stream.update([], 6, 1)) == Update(1, 1, [], checksum([0, 4, 0], 6, 1))


def test_a_restored_machine_tells_its_tick_alone() -> None:
    stream = writer()
    assert parsed(stream.update([], 5, 2)) == Update(1, 0, [], checksum([0, 4, 0], 5, 2), 1)


def test_a_snapshot_is_the_same_object_until_something_is_said() -> None:
    stream = writer()
    first = stream.snapshot()
    stream.heartbeat()
    stream.update([(1, 4)], 5, 1)
    assert stream.snapshot() is first
    stream.update([(0, 1)], 6, 1)
    second = stream.snapshot()
    assert second == Snapshot(1, (1, 4, 0), 6, 1, 0, checksum([1, 4, 0], 6, 1))
    stream.payload("p", 1, b"t")
    assert stream.snapshot() == Snapshot(2, (1, 4, 0), 6, 1, 1, second.checksum)


def test_a_payload_takes_the_next_number_and_its_own_ordinal() -> None:
    stream = writer()
    stream.update([(0, 1)], 6, 1)
    first = stream.payload("price", {"usd": 1.5}, b"token")
    second = stream.payload("price", None, b"nekot", "tx")
    assert parsed(first) == PayloadFrame(2, 1, "price", {"usd": 1.5}, b"token")
    assert parsed(second) == PayloadFrame(3, 2, "price", None, b"nekot", "tx")
    assert (stream.head, stream.payloads) == (3, 2)


@pytest.mark.parametrize("data", [1j, 2**64, {(1,): 1}, "\ud800", [object()]])
def test_a_payload_that_cannot_travel_takes_no_number(data: object) -> None:
    stream = writer()
    before = stream.snapshot()
    with pytest.raises(InvalidArgs, match=f"^{re.escape(repr(data))} cannot travel"):
        stream.payload("bad", data, b"token")
    assert (stream.head, stream.payloads, stream.encoded) == (0, 0, 0)
    assert stream.snapshot() is before
    assert parsed(stream.payload("good", 1, b"token")) == PayloadFrame(1, 1, "good", 1, b"token")


def test_a_heartbeat_tells_where_the_stream_is_and_takes_no_number() -> None:
    stream = writer()
    assert parsed(stream.heartbeat()) == Heartbeat(0, checksum([0, 4, 0], 5, 1))
    stream.update([(0, 1)], 6, 1)
    assert parsed(stream.heartbeat()) == Heartbeat(1, checksum([1, 4, 0], 6, 1))
    assert (stream.head, stream.encoded) == (1, 3)


def test_the_journal_holds_what_was_said_without_the_stream_id() -> None:
    stream = writer(JournalLimits(messages=2))
    frames = [stream.update([(0, 1)], 6, 1), stream.payload("p", 1, b"t")]
    assert stream.since(0) == [frame[len(ID) :] for frame in frames if frame]
    stream.update([(0, 2)], 7, 1)
    assert stream.since(0) is None
    assert len(stream.since(1) or []) == 2


def test_a_stream_that_has_ended_keeps_its_number_and_nothing_that_it_said() -> None:
    stream = writer()
    stream.update([(0, 1)], 6, 1)
    stream.end()
    assert stream.head == 1
    assert stream.since(1) == []
    assert stream.since(0) is None
    assert stream.journal.size_bytes == 0


def test_a_stream_takes_little_memory() -> None:
    writer()
    tracemalloc.start()
    try:
        streams = [writer() for _ in range(20)]
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size < len(streams) * 16 * 1024
