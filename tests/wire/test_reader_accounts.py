"""The follower's end of a stream: what it counts, answers and forgets."""

from __future__ import annotations

import pytest

from amzmq.errors import FrameInvalid
from amzmq.wire import reader as reader_module
from amzmq.wire.checksum import ClockSum
from amzmq.wire.codec import encode
from amzmq.wire.feed import UPDATE_BYTE, Heartbeat, Update, parse_body
from amzmq.wire.reader import Need
from amzmq.wire.schema import schema_value
from amzmq.wire.writer import Snapshot

from .rig import ID, NAMES, Replica, Source, schema_of


def level() -> tuple[Source, Replica]:
    """A source that has ticked once, and a replica that knows it."""
    source, replica = Source(), Replica()
    source.tick(0)
    replica.reader.restore(source.writer.snapshot())
    return source, replica


def right(source: Source, number: object, queue: object, changes: object, *more: object) -> bytes:
    """An update with the checksum of two changes that the source has not made."""
    total = ClockSum(NAMES)
    total.reset(source.ticks, source.queue_tick, source.machine_tick)
    return UPDATE_BYTE + encode([number, queue, changes, total.advance([0, 1], 1, 0), *more])


def test_a_push_answers_with_the_number_of_its_message() -> None:
    source, replica = level()
    bodies = [source.tick(0), source.payload("x"), source.tick(1)]
    push = replica.reader.push
    assert [push(body) for body in bodies] == [2, 3, 4]
    assert [push(body) for body in bodies] == [2, 3, 4]
    assert push(source.heartbeat()) == 4
    ahead = [source.tick(0), source.tick(1)]
    assert push(ahead[1]) == 6
    assert push(ahead[0]) == 5


def test_a_reader_knows_whether_its_source_is_away_as_of_the_last_heartbeat() -> None:
    source, replica = level()
    told = []
    for is_stale in (False, True, True, False):
        told.append(replica.reader.is_stale)
        replica.reader.push(source.writer.heartbeat(is_stale)[len(ID) :])
    assert told == [False, False, True, True]
    assert not replica.reader.is_stale


def test_a_frame_is_read_from_where_its_body_begins() -> None:
    source, replica = level()
    assert replica.reader.push(ID + source.tick(1), len(ID)) == 2
    assert replica.reader.push(ID + source.payload("x"), len(ID)) == 3
    assert replica.clock == source.clock


def test_the_reader_knows_the_payload_count_and_the_checksum_at_its_number() -> None:
    source, replica = level()
    assert Replica().reader.payloads == 0
    for body in (source.payload("x"), source.tick(1), source.payload("y")):
        replica.reader.push(body)
    assert replica.reader.payloads == 2
    assert replica.reader.checksum == source.writer.snapshot().checksum


def test_updates_and_snapshots_are_counted_one_by_one_on_the_long_way_too() -> None:
    source, replica = level()
    update = parse_body(source.tick(1))
    replica.reader.take(update)
    replica.reader.take(parse_body(source.tick(1)))
    counters = replica.reader.counters
    assert (counters.updates, counters.snapshots, counters.duplicates) == (2, 1, 0)
    source.tick(2)
    replica.reader.push(source.heartbeat())
    replica.reader.restore(source.writer.snapshot())
    assert (counters.updates, counters.snapshots) == (2, 2)


def test_who_hears_that_the_source_is_further_is_behind_and_knows_when_it_is_not() -> None:
    source, replica = level()
    replica.reader.behind(1)
    assert replica.reader.need is Need.NOTHING
    bodies = [source.tick(1), source.tick(2)]
    replica.reader.behind(3)
    assert (replica.reader.need, replica.reader.counters.gaps) == (Need.MISSING, 1)
    replica.reader.push(bodies[0])
    assert replica.reader.need is Need.MISSING
    replica.reader.push(bodies[1])
    assert replica.reader.need is Need.NOTHING


def test_who_needs_a_snapshot_is_not_behind_besides() -> None:
    replica = Replica()
    replica.reader.behind(7)
    assert (replica.reader.need, replica.reader.counters.gaps) == (Need.SNAPSHOT, 0)
    replica.reader.restore(Source().writer.snapshot())
    assert replica.reader.need is Need.NOTHING


def test_payloads_that_were_lost_behind_an_empty_stream_s_snapshot_are_counted() -> None:
    source, replica = Source(), Replica()
    replica.reader.restore(source.writer.snapshot())
    assert replica.reader.number == 0
    source.payload("lost")
    replica.reader.push(source.heartbeat())
    replica.reader.restore(source.writer.snapshot())
    assert replica.reader.counters.payloads_lost == 1


def test_a_wrong_snapshot_leaves_a_reader_in_need_of_another() -> None:
    source, replica = level()
    source.tick(0)
    now = source.writer.snapshot()
    wrong = Snapshot(now.number, now.ticks, now.queue_tick, now.machine_tick, 0, now.checksum ^ 1)
    with pytest.raises(FrameInvalid, match="checksum is wrong"):
        replica.reader.restore(wrong)
    assert replica.reader.need is Need.SNAPSHOT
    assert replica.reader.counters.snapshots == 1


def test_a_new_epoch_knows_nothing_of_the_old_one() -> None:
    source, replica = level()
    replica.reader.push(source.payload("x"))
    source.tick(0)
    replica.reader.push(source.tick(1))  # ahead of a hole
    replica.reader.start_over()
    assert (replica.reader.number, replica.reader.payloads) == (-1, 0)
    assert replica.reader.need is Need.SNAPSHOT
    fresh = Source()
    fresh.payload("one")
    first = fresh.writer.snapshot()
    replica.reader.restore(first)
    assert replica.clock == fresh.clock
    assert replica.reader.need is Need.NOTHING
    counters = replica.reader.counters
    assert (counters.payloads_lost, counters.duplicates, counters.gaps) == (0, 0, 1)
    for body in (fresh.tick(0), fresh.tick(1), fresh.tick(2)):
        replica.reader.push(body)
    assert replica.clock == fresh.clock


def test_a_snapshot_counts_what_it_makes_known_and_the_reader_goes_on_behind_it() -> None:
    source, replica = level()
    source.tick(0)  # lost
    known = source.tick(1)
    replica.reader.push(known)
    snapshot = source.writer.snapshot()
    behind, further = source.tick(2), source.tick(0)
    replica.reader.push(further)
    replica.reader.restore(snapshot)
    counters = replica.reader.counters
    assert (counters.duplicates, counters.gaps) == (0, 2)
    assert replica.reader.need is Need.MISSING
    replica.reader.push(behind)
    assert replica.clock == source.clock
    assert (replica.reader.number, replica.reader.need) == (5, Need.NOTHING)
    replica.reader.push(known)
    assert counters.duplicates == 1


def test_what_came_before_the_first_snapshot_and_is_in_it_is_a_duplicate() -> None:
    source, replica = Source(), Replica()
    for body in (source.tick(0), source.tick(1)):
        replica.reader.push(body)
    replica.reader.restore(source.writer.snapshot())
    assert replica.reader.counters.duplicates == 2
    replica.reader.push(source.tick(2))
    assert replica.clock == source.clock
    assert replica.reader.counters.gaps == 0


def test_a_snapshot_is_followed_at_once_by_what_waited_for_it() -> None:
    source, replica = level()
    source.tick(0)  # lost
    snapshot = source.writer.snapshot()
    replica.reader.push(source.tick(1))
    replica.reader.restore(snapshot)
    assert replica.clock == source.clock
    assert (replica.reader.need, replica.reader.counters.gaps) == (Need.NOTHING, 1)


def test_a_snapshot_brings_the_payload_count_and_none_is_lost_that_came() -> None:
    source, replica = level()
    source.tick(0)  # lost
    replica.reader.push(source.payload("kept"))
    replica.reader.restore(source.writer.snapshot())
    counters = replica.reader.counters
    assert (counters.payloads, counters.payloads_lost, replica.reader.payloads) == (1, 0, 1)
    assert replica.said[-1] == "kept"


def test_what_waited_in_an_old_epoch_does_not_fill_holes_of_the_new_one() -> None:
    source, replica = level()
    for index in (0, 1, 2):
        source.tick(index)  # lost
    replica.reader.push(source.tick(0))  # number 5, ahead
    replica.reader.start_over()
    fresh = Source()
    replica.reader.restore(fresh.writer.snapshot())
    assert (replica.reader.need, replica.reader.counters.gaps) == (Need.NOTHING, 1)
    bodies = [fresh.tick(0) for _ in range(4)]
    for at in (0, 1, 3, 2):
        replica.reader.push(bodies[at])
    assert replica.clock == fresh.clock
    assert (replica.reader.number, replica.reader.need) == (4, Need.NOTHING)


def test_what_a_first_snapshot_holds_takes_no_room_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader_module, "AHEAD_LIMIT", 2)
    source, replica = Source(), Replica()
    for body in (source.tick(0), source.tick(1)):
        replica.reader.push(body)
    replica.reader.restore(source.writer.snapshot())
    lost = source.tick(0)
    for body in (source.tick(1), source.tick(2)):
        replica.reader.push(body)
    assert replica.reader.counters.overflows == 0
    replica.reader.push(lost)
    assert replica.clock == source.clock


def test_a_snapshot_of_what_is_known_is_a_duplicate_unless_one_is_needed() -> None:
    source, replica = level()
    snapshot = source.writer.snapshot()
    replica.reader.restore(snapshot)
    counters = replica.reader.counters
    assert (counters.duplicates, counters.snapshots) == (1, 1)
    replica.reader.push(Heartbeat(1, 1).body())
    assert replica.reader.need is Need.SNAPSHOT
    replica.reader.restore(snapshot)
    assert (counters.duplicates, counters.snapshots) == (1, 2)
    assert replica.reader.need is Need.NOTHING


def test_a_snapshot_at_the_same_number_may_bring_another_schema() -> None:
    source, replica = level()
    replica.reader.push(Heartbeat(1, 1).body())
    grown = schema_of(*NAMES, "New")
    total = ClockSum(grown.names).reset([1, 0, 0, 0], source.queue_tick, 0)
    snapshot = Snapshot(1, (1, 0, 0, 0), source.queue_tick, 0, 0, total)
    replica.reader.restore(snapshot, schema_value(grown))
    assert replica.names == grown.names
    assert replica.reader.need is Need.NOTHING


def test_a_run_of_frames_is_taken_as_far_as_each_is_the_next_and_usual() -> None:
    source, replica = level()
    frames = [ID + body for body in (source.tick(0), source.tick(1))]
    assert replica.reader.push_run(frames, len(ID)) == 2
    assert replica.clock == source.clock
    more = [ID + source.tick(0), ID + source.payload("x"), ID + source.tick(1)]
    assert replica.reader.push_run(more, len(ID)) == 1
    for frame in more[1:]:
        replica.reader.push(frame, len(ID))
    assert replica.clock == source.clock
    assert replica.reader.push_run([ID + source.tick(0)], len(ID)) == 0
    skipped = [ID + source.tick(0), ID + source.tick(1)]
    assert replica.reader.push_run(skipped, len(ID)) == 0
    assert replica.reader.number == 6


def test_a_payload_and_a_schema_fill_a_hole_like_an_update() -> None:
    source, replica = level()
    payload, behind = source.payload("x"), source.tick(1)
    replica.reader.push(behind)
    replica.reader.push(payload)
    assert replica.clock == source.clock
    assert (replica.reader.number, replica.reader.need) == (3, Need.NOTHING)
    grown = source.writer.change_schema(schema_of(*NAMES, "New"))[len(ID) :]
    later = source.payload("y")
    replica.reader.push(later)
    replica.reader.push(grown)
    assert replica.said[-1] == "y"
    assert (replica.reader.number, replica.reader.need) == (5, Need.NOTHING)


def test_a_run_ends_at_what_is_no_update_though_it_takes_no_number() -> None:
    source, replica = level()
    frames = [ID + source.tick(0), ID + source.heartbeat(), ID + source.tick(1)]
    assert replica.reader.push_run(frames, len(ID)) == 1
    for frame in frames[1:]:
        replica.reader.push(frame, len(ID))
    assert replica.clock == source.clock
    assert replica.reader.counters.duplicates == 0


def test_an_update_of_a_later_number_waits_whatever_its_checksum() -> None:
    source, replica = level()
    replica.reader.push(right(source, 3, 1, [0, 1]))
    assert len(replica.said) == 1
    assert replica.reader.need is Need.MISSING


def test_the_number_0_is_a_duplicate_like_any_other() -> None:
    source, replica = level()
    assert replica.reader.push(right(source, 0, 1, [0, 1])) == 0
    assert replica.reader.counters.duplicates == 1


def test_each_index_of_an_update_is_looked_at() -> None:
    source, replica = level()
    for changes in ([9, 1], [0, 1, 9, 1], [0, 1, 1, 1, -1, 1]):
        with pytest.raises(FrameInvalid, match="of 3 states"):
            replica.reader.take(Update(2, 1, changes, 0))
    with pytest.raises(FrameInvalid, match="state index 3 of 3 states"):
        replica.reader.take(Update(2, 1, [0, 1], 0, 0, 0, [3]))
    replica.reader.push(source.tick(0))
    assert replica.clock == source.clock


@pytest.mark.parametrize(
    ("queue", "changes"),
    [(1, [0, b"x"]), (b"x", [0, 1]), (1, [b"x", 1]), (1, [0, "x"]), (1, [0, [1]]), (1, b"xx"),
     (1, {0: 0, 1: 1}), (1, 7), (1, None), (1.5, [0, 1]), (1, [0, 1.5])],
)  # fmt: skip
def test_an_update_with_anything_in_the_place_of_a_number_is_invalid(
    queue: object, changes: object
) -> None:
    source, replica = level()
    with pytest.raises(FrameInvalid):
        replica.reader.push(right(source, 2, queue, changes))
    assert (replica.reader.number, len(replica.said)) == (1, 1)
    replica.reader.push(source.tick(1))
    assert replica.clock == source.clock


def test_the_number_stays_a_whole_one_whatever_it_is_equal_to() -> None:
    source, replica = level()
    replica.reader.push(right(source, 2.0, 1, [0, 1]))
    assert type(replica.reader.number) is int


def test_an_update_of_a_mutation_of_unknown_kind_is_applied_like_a_merged_one() -> None:
    source, replica = level()
    update = parse_body(right(source, 2, 1, [0, 1], 0, 99, [1]))
    assert isinstance(update, Update)
    assert (update.kind, update.called) == (-1, ())
    replica.reader.take(update)
    assert replica.ticks[0] == source.ticks[0] + 1
    assert replica.causes == []
