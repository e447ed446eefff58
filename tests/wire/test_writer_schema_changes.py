"""The source's end of a stream when its schema grows, and what it tells of itself."""

from __future__ import annotations

import pytest

from amzmq.errors import FrameTooLarge
from amzmq.machine.resolver import MutationType
from amzmq.wire.checksum import ClockSum
from amzmq.wire.feed import SchemaFrame, Update, parse_body
from amzmq.wire.journal import JournalLimits
from amzmq.wire.schema import schema_hash, schema_value
from amzmq.wire.view import View
from amzmq.wire.writer import FRAME_MARGIN, Cause, StreamWriter

from .rig import EPOCH, ID, NAMES, schema_of, writer_of

GROWN = schema_of("New", *NAMES)


def stream(**options: object) -> StreamWriter:
    made = writer_of(**options)  # type: ignore[arg-type]
    made.begin(enumerate([1, 4, 0]), 5, 1)
    return made


def parsed(frame: bytes | None) -> object:
    assert frame is not None
    return parse_body(frame[len(ID) :])


def test_a_stream_has_the_id_the_epoch_and_the_journal_it_was_made_with() -> None:
    made = stream(limits=JournalLimits(messages=1))
    assert (made.stream_id, made.epoch, made.is_continued) == (ID, EPOCH, False)
    assert made.journal.head == made.head == 0
    made.update([(0, 2)], 6, 1)
    made.update([(0, 3)], 7, 1)
    assert (made.journal.head, made.journal.oldest) == (2, 2)


def test_a_stream_tells_the_schema_that_its_followers_know_and_its_hash() -> None:
    made = stream()
    assert made.schema == schema_value(schema_of(*NAMES))
    assert made.schema_hash == schema_hash(schema_of(*NAMES))
    made.change_schema(GROWN)
    assert made.schema == schema_value(GROWN)
    assert made.schema_hash == schema_hash(GROWN)


def test_a_change_of_the_schema_is_a_numbered_message_and_keeps_the_ticks_by_name() -> None:
    made = stream()
    assert made.snapshot().ticks == (1, 4, 0)
    assert parsed(made.change_schema(GROWN)) == SchemaFrame(1, schema_value(GROWN))
    now = made.snapshot()
    assert (now.number, now.ticks) == (1, (0, 1, 4, 0))
    assert now.checksum == ClockSum(GROWN.names).reset([0, 1, 4, 0], 5, 1)
    assert (made.encoded, made.updates) == (1, 0)
    total = ClockSum(GROWN.names).reset([2, 1, 4, 0], 6, 1)
    assert parsed(made.update([(0, 2), (1, 1)], 6, 1)) == Update(2, 1, [0, 2], total)


def test_each_number_is_counted_by_the_names_that_held_up_to_it() -> None:
    made = stream()
    made.update([(0, 2)], 6, 1)
    made.change_schema(GROWN)
    made.update([(0, 1)], 7, 1)
    made.change_schema(schema_of("Newer", *GROWN.names))
    assert [made.names_at(number) for number in range(5)] == [
        NAMES,
        NAMES,
        GROWN.names,
        GROWN.names,
        ("Newer", *GROWN.names),
    ]


def test_a_view_that_was_of_everything_may_leave_out_what_the_schema_grows_by() -> None:
    made = stream(view=View(allowed=frozenset(NAMES)))
    assert parsed(made.update([(0, 2)], 6, 1)) is not None
    assert parsed(made.change_schema(GROWN)) == SchemaFrame(2, schema_value(GROWN), [1, 2, 3])
    assert made.update([(0, 5)], 6, 1) is None
    assert parsed(made.update([(1, 3), (0, 9)], 7, 1)) == Update(
        3, 1, [1, 1], ClockSum(GROWN.names).reset([0, 3, 4, 0], 7, 1)
    )


def test_what_a_stream_begins_with_replaces_a_snapshot_taken_before() -> None:
    made = writer_of()
    assert made.snapshot().ticks == (0, 0, 0)
    made.begin([(1, 7)], 3, 2)
    now = made.snapshot()
    assert (now.ticks, now.queue_tick, now.machine_tick) == ((0, 7, 0), 3, 2)


def test_the_machine_tick_is_told_once() -> None:
    made = stream()
    update = parsed(made.update([(0, 2)], 6, 3))
    assert isinstance(update, Update)
    assert update.machine_ticks == 2
    assert made.snapshot().machine_tick == 3
    again = parsed(made.update([(0, 3)], 7, 3))
    assert isinstance(again, Update)
    assert again.machine_ticks == 0
    assert made.update([(0, 3)], 7, 3) is None


def test_an_update_of_one_mutation_tells_its_kind_and_the_called_states_of_the_view() -> None:
    made = stream(view=View(schema=False, skipped=frozenset(["A"]), mutations=True))
    cause = Cause(MutationType.SET, (0, 1))
    update = parsed(made.update([(0, 2), (1, 5)], 6, 1, cause))
    assert isinstance(update, Update)
    assert (update.changes, update.kind, list(update.called)) == ([0, 1], MutationType.SET, [0])
    assert update.machine_ticks == 0


def test_a_payload_may_take_as_much_as_fits_a_frame_beside_its_margin() -> None:
    made = stream()
    body = len(made.payload("p", b"x" * 100, b"token")) - len(ID)
    made = stream(frame_limit=body + FRAME_MARGIN)
    made.payload("p", b"x" * 100, b"token")
    assert (made.head, made.payloads, made.encoded) == (1, 1, 1)
    with pytest.raises(FrameTooLarge, match=rf"takes {body + 1} bytes, {body} are allowed"):
        made.payload("p", b"x" * 101, b"token")
    assert (made.head, made.payloads, made.encoded) == (1, 1, 1)
