"""The follower's end of a stream: the next message, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from amzmq.errors import FrameInvalid
from amzmq.wire import reader as reader_module
from amzmq.wire.feed import PayloadFrame, Update, parse_body
from amzmq.wire.reader import Need
from amzmq.wire.writer import Snapshot

from .rig import Replica, Source


@pytest.fixture
def source() -> Source:
    made = Source()
    made.tick(0)
    return made


@pytest.fixture
def replica(source: Source) -> Replica:
    made = Replica()
    made.reader.restore(source.writer.snapshot())
    return made


def test_a_new_reader_needs_a_snapshot_and_keeps_what_comes_before_it() -> None:
    source, replica = Source(), Replica()
    assert (replica.reader.number, replica.reader.need) == (-1, Need.SNAPSHOT)
    snapshot = source.writer.snapshot()
    replica.reader.push(source.heartbeat())
    replica.reader.push(source.tick(1))
    assert replica.said == []
    replica.reader.restore(snapshot)
    assert replica.clock == source.clock
    assert replica.reader.need is Need.NOTHING
    assert replica.reader.counters.gaps == 0


def test_messages_are_applied_in_order_states_and_payloads_alike(
    source: Source, replica: Replica
) -> None:
    for body in (source.tick(0), source.payload("x"), source.tick(1, 2), source.payload("y")):
        replica.reader.push(body)
    assert replica.said[1:] == [[0, 1], "x", [1, 1, 2, 1], "y"]
    assert replica.clock == source.clock
    assert (replica.reader.counters.updates, replica.reader.counters.payloads) == (2, 2)


def test_a_message_known_already_is_dropped_and_counted(source: Source, replica: Replica) -> None:
    bodies = [source.tick(0), source.payload("x")]
    for body in (*bodies, *bodies):
        replica.reader.push(body)
    assert replica.said[1:] == [[0, 1], "x"]
    assert replica.reader.counters.duplicates == 2


def test_what_is_ahead_of_a_hole_waits_until_it_is_filled(source: Source, replica: Replica) -> None:
    first, second, third = source.tick(0), source.payload("x"), source.tick(1)
    replica.reader.push(third)
    replica.reader.push(second)
    assert replica.said[1:] == []
    assert replica.reader.need is Need.MISSING
    replica.reader.push(first)
    assert replica.said[1:] == [[0, 1], "x", [1, 1]]
    assert replica.reader.need is Need.NOTHING
    assert replica.reader.counters.gaps == 1


def test_a_heartbeat_that_is_ahead_shows_a_loss_at_the_end(
    source: Source, replica: Replica
) -> None:
    lost = source.tick(0)
    replica.reader.push(source.heartbeat())
    assert (replica.reader.need, replica.reader.counters.gaps) == (Need.MISSING, 1)
    replica.reader.push(lost)
    assert replica.reader.need is Need.NOTHING


def test_a_late_heartbeat_says_nothing(source: Source, replica: Replica) -> None:
    late = source.heartbeat()
    replica.reader.push(source.tick(0))
    replica.reader.push(late)
    assert replica.reader.need is Need.NOTHING
    assert replica.reader.counters.mismatches == 0


def test_a_heartbeat_with_another_checksum_shows_drift(source: Source, replica: Replica) -> None:
    replica.reader.push(replica_heartbeat := source.heartbeat())
    assert replica.reader.need is Need.NOTHING
    wrong = parse_body(replica_heartbeat)._replace(checksum=1)  # type: ignore[call-arg]
    replica.reader.push(wrong.body())
    assert (replica.reader.need, replica.reader.counters.mismatches) == (Need.SNAPSHOT, 1)


@pytest.mark.parametrize("field", ["checksum", "queue_ticks", "machine_ticks"])
def test_an_update_with_a_wrong_checksum_is_never_shown(
    source: Source, replica: Replica, field: str
) -> None:
    update = parse_body(source.tick(0))
    assert isinstance(update, Update)
    replica.reader.push(update._replace(**{field: getattr(update, field) + 1}).body())
    assert len(replica.said) == 1
    assert (replica.reader.need, replica.reader.counters.mismatches) == (Need.SNAPSHOT, 1)
    replica.reader.push(source.tick(1))
    assert len(replica.said) == 1
    replica.reader.restore(source.writer.snapshot())
    assert replica.clock == source.clock
    assert replica.reader.need is Need.NOTHING


@pytest.mark.parametrize("index", [3, -1, 2**40])
def test_an_update_for_a_state_that_is_not_there_is_invalid_and_changes_nothing(
    source: Source, replica: Replica, index: int
) -> None:
    with pytest.raises(FrameInvalid, match=f"state index {index} of 3 states"):
        replica.reader.push(Update(2, 1, [index, 1], 0).body())
    replica.reader.push(source.tick(0))
    assert replica.clock == source.clock


@pytest.mark.parametrize("change", [{"ticks": (1,)}, {"checksum": 0}, {"queue_tick": 9}])
def test_a_snapshot_that_does_not_fit_is_invalid_and_never_shown(
    source: Source, replica: Replica, change: dict[str, object]
) -> None:
    source.tick(1)
    snapshot = replace(source.writer.snapshot(), **change)  # type: ignore[arg-type]
    with pytest.raises(FrameInvalid, match="snapshot: "):
        replica.reader.restore(snapshot)
    assert len(replica.said) == 1
    replica.reader.restore(source.writer.snapshot())
    assert replica.clock == source.clock


def test_payloads_that_a_snapshot_passes_over_are_counted(source: Source, replica: Replica) -> None:
    replica.reader.push(source.payload("seen"))
    source.payload("lost")
    source.payload("lost")
    replica.reader.restore(source.writer.snapshot())
    assert replica.payloads == [1]
    assert replica.reader.counters.payloads_lost == 2
    replica.reader.push(source.payload("seen"))
    assert replica.payloads == [1, 4]


def test_payloads_kept_aside_are_delivered_behind_the_snapshot_that_passes_them(
    source: Source, replica: Replica
) -> None:
    source.payload("lost")
    replica.reader.push(source.payload("kept"))
    source.tick(1)
    replica.reader.restore(source.writer.snapshot())
    assert replica.payloads == [2]
    assert replica.reader.counters.payloads_lost == 1
    assert isinstance(replica.said[-2], Snapshot)
    assert replica.said[-1] == "kept"


def test_payloads_before_the_first_snapshot_are_not_counted_as_lost(source: Source) -> None:
    source.payload("before")
    replica = Replica()
    replica.reader.restore(source.writer.snapshot())
    assert replica.reader.counters.payloads_lost == 0


def test_a_snapshot_that_is_older_than_what_is_known_changes_nothing(
    source: Source, replica: Replica
) -> None:
    old = source.writer.snapshot()
    replica.reader.push(source.payload("once"))
    replica.reader.restore(old)
    assert replica.reader.number == 2
    assert replica.reader.counters.duplicates == 1
    assert replica.reader.need is Need.NOTHING


def test_after_drift_too_a_snapshot_does_not_go_back(source: Source, replica: Replica) -> None:
    # Going back would deliver the payload a second time once the journal answers.
    old = source.writer.snapshot()
    payload = source.payload("once")
    replica.reader.push(payload)
    update = parse_body(source.tick(0))
    replica.reader.push(update._replace(checksum=0).body())  # type: ignore[call-arg]
    assert replica.reader.need is Need.SNAPSHOT
    replica.reader.restore(old)
    assert replica.reader.need is Need.SNAPSHOT
    replica.reader.restore(source.writer.snapshot())
    for body in source.writer.since(1) or []:
        replica.reader.push(body)
    assert replica.payloads == [1]
    assert replica.clock == source.clock


def test_a_new_epoch_starts_over_and_forgets_what_was_kept(
    source: Source, replica: Replica
) -> None:
    source.payload("lost with the old epoch")
    replica.reader.push(source.payload("kept"))
    replica.reader.start_over()
    assert (replica.reader.number, replica.reader.need) == (-1, Need.SNAPSHOT)
    again = Source()
    again.payload("before")
    replica.reader.restore(again.writer.snapshot())
    assert replica.reader.need is Need.NOTHING
    assert replica.payloads == []
    assert replica.reader.counters.payloads_lost == 0
    assert replica.clock == again.clock


def test_not_more_is_kept_aside_than_the_limit(
    source: Source, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "AHEAD_LIMIT", 3)
    source.tick(0)
    for _ in range(5):
        replica.reader.push(source.tick(0))
    assert replica.reader.counters.overflows == 2
    for body in source.writer.since(1) or []:
        replica.reader.push(body)
    assert replica.clock == source.clock
    assert replica.reader.need is Need.NOTHING


def test_the_same_message_ahead_twice_is_used_once(source: Source, replica: Replica) -> None:
    hole = source.tick(0)
    ahead = PayloadFrame(3, 1, "p", "x", b"token").body()
    replica.reader.push(ahead)
    replica.reader.push(ahead)
    replica.reader.push(hole)
    assert replica.payloads == [1]


def test_messages_that_came_together_are_applied_one_by_one(
    source: Source, replica: Replica
) -> None:
    bodies = [source.tick(0), source.tick(1, 2), source.tick(0)]
    assert replica.reader.push_run(bodies, 0) == 3
    assert replica.said[1:] == [[0, 1], [1, 1, 2, 1], [0, 1]]
    assert replica.clock == source.clock
    assert replica.reader.counters.updates == 3


def test_of_those_that_came_together_the_usual_ones_at_the_front_are_taken(
    source: Source, replica: Replica
) -> None:
    first, payload, last = source.tick(0), source.payload("x"), source.tick(1)
    assert replica.reader.push_run([first, payload, last], 0) == 1
    assert replica.reader.push_run([first, payload], 0) == 0  # it is known already
    for body in (payload, last):
        replica.reader.push(body)
    assert replica.clock == source.clock


def test_nothing_is_taken_behind_a_hole_or_while_one_is_open(
    source: Source, replica: Replica
) -> None:
    bodies = [source.tick(0) for _ in range(4)]
    assert replica.reader.push_run([bodies[0], bodies[2], bodies[3]], 0) == 1
    replica.reader.push(bodies[2])
    assert replica.reader.need is Need.MISSING
    assert replica.reader.push_run(bodies[1:], 0) == 0


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-1],
        lambda body: body + b"\x01",
        lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    ],
    ids=["cut", "longer", "changed"],
)
def test_a_damaged_one_of_several_ends_them_and_is_never_shown(
    source: Source, replica: Replica, at: int, damage: Callable[[bytes], bytes]
) -> None:
    clocks, bodies = [source.clock], []
    for _ in range(3):
        bodies.append(source.tick(0))
        clocks.append(source.clock)
    bodies[at] = damage(bodies[at])
    taken = replica.reader.push_run(bodies, 0)
    assert taken <= at
    assert replica.clock == clocks[taken]
