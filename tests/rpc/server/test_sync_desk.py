"""The desk that answers who missed something: what it sends, when, and what it counts."""

from __future__ import annotations

import asyncio

import pytest

from amzmq.rpc.server.counters import MuxCounters
from amzmq.rpc.server.sync_desk import SyncDesk, fitting
from amzmq.wire.control import CatchUp, Message, SnapshotReply, Sync
from amzmq.wire.control_frames import from_frame
from amzmq.wire.journal import JournalLimits
from amzmq.wire.schema import schema_value
from amzmq.wire.view import View
from amzmq.wire.writer import FRAME_MARGIN, StreamWriter
from tests.rpc.rig import until
from tests.wire.rig import EPOCH, NAMES, schema_of, writer_of


class Asker:
    """A client's end, as far as the desk is concerned."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    def send_frame(self, frame: bytes) -> None:
        self.heard.append(from_frame(frame))


def stream(**options: object) -> StreamWriter:
    made = writer_of(**options)  # type: ignore[arg-type]
    made.begin([], 1, 0)
    for tick in range(1, 4):
        made.update([(0, tick)], 1 + tick, 0)
    return made


def missed(number: int = 0, epoch: bytes = EPOCH, hash_: bytes = b"") -> Sync:
    return Sync(7, epoch, number, hash_)


async def test_the_journal_answers_whom_it_reaches() -> None:
    counters, asker, said = MuxCounters(), Asker(), stream()
    desk = SyncDesk(counters)
    desk.answer(asker, said, missed(1))
    assert asker.heard == [CatchUp(7, said.since(1) or [], 0)]
    desk.answer(Asker(), said, missed(1))
    assert (counters.catch_ups_sent, counters.catch_ups_encoded) == (2, 1)
    assert (counters.snapshots_sent, desk.waiting) == (0, 0)


@pytest.mark.parametrize("epoch", [EPOCH, b"other ep"], ids=["journal", "snapshot"])
async def test_what_nobody_asks_for_any_more_is_forgotten(epoch: bytes) -> None:
    counters, said = MuxCounters(), stream()
    desk = SyncDesk(counters)
    encoded = []
    for beats in (0, 1, 1, 2, 0):
        for _ in range(beats):
            desk.beat()
        desk.answer(Asker(), said, missed(1, epoch))
        encoded.append(counters.catch_ups_encoded + counters.snapshots_encoded)
    assert encoded == [1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("limits", "question"),
    [
        (None, missed(0, b"other ep")),
        (None, missed(99)),
        (JournalLimits(messages=1), missed(0)),
    ],
)
async def test_a_snapshot_answers_all_others(limits: JournalLimits | None, question: Sync) -> None:
    counters, asker, said = MuxCounters(), Asker(), stream(limits=limits)
    desk = SyncDesk(counters)
    desk.answer(asker, said, question)
    now = said.snapshot()
    assert asker.heard == [SnapshotReply(7, 3, [3, 0, 0], 4, 0, 0, now.checksum)]
    desk.answer(Asker(), said, question)
    assert (counters.snapshots_sent, counters.snapshots_encoded) == (2, 1)
    assert (counters.catch_ups_sent, counters.snapshots_delayed) == (0, 0)


async def test_a_snapshot_brings_the_schema_to_who_knows_another() -> None:
    said = stream(view=View(skipped=frozenset(["B"])))
    desk = SyncDesk(MuxCounters())
    for known, tells in ((b"", False), (said.schema_hash, False), (b"anything", True)):
        asker = Asker()
        desk.answer(asker, said, missed(0, b"", known))
        (snapshot,) = asker.heard
        assert isinstance(snapshot, SnapshotReply)
        schema = schema_value(schema_of(*NAMES)) if tells else None
        assert (snapshot.schema, snapshot.tracked) == (schema, [0, 2] if tells else None)


async def test_snapshots_above_the_rate_wait_and_the_last_question_counts() -> None:
    counters, said = MuxCounters(), stream()
    desk = SyncDesk(counters, rate=100.0, burst=1.0)
    first, second, third = Asker(), Asker(), Asker()
    for asker in (first, second, third):
        desk.answer(asker, said, missed(0, b""))
    desk.answer(second, said, missed(0, b"")._replace(request=8))
    assert (desk.waiting, counters.snapshots_delayed, counters.snapshots_sent) == (2, 2, 1)
    await until(lambda: third.heard)
    assert [message.request for message in second.heard] == [8]  # type: ignore[union-attr]
    assert (desk.waiting, counters.snapshots_delayed, counters.snapshots_sent) == (0, 2, 3)


async def test_who_is_answered_by_the_journal_waits_no_longer() -> None:
    counters, said = MuxCounters(), stream()
    desk = SyncDesk(counters, rate=1.0, burst=1.0)
    first, second = Asker(), Asker()
    desk.answer(first, said, missed(0, b""))
    desk.answer(second, said, missed(0, b""))
    assert desk.waiting == 1
    desk.answer(second, said, missed(1))
    assert (desk.waiting, len(second.heard)) == (0, 1)
    desk.close()


async def test_who_went_is_not_answered_and_a_closed_desk_answers_nobody() -> None:
    said = stream()
    desk = SyncDesk(MuxCounters(), rate=200.0, burst=1.0)
    first, gone, third = Asker(), Asker(), Asker()
    for asker in (first, gone, third):
        desk.answer(asker, said, missed(0, b""))
    desk.forget(gone)
    assert desk.waiting == 1
    await until(lambda: third.heard)
    assert gone.heard == []
    desk.answer(gone, said, missed(0, b""))
    desk.close()
    assert desk.waiting == 0
    await asyncio.sleep(0.02)
    assert gone.heard == []


async def test_a_closed_desk_keeps_no_answer() -> None:
    counters, said = MuxCounters(), stream()
    desk = SyncDesk(counters)
    for _ in range(2):
        desk.answer(Asker(), said, missed(1))
        desk.answer(Asker(), said, missed(1, b"other ep"))
        desk.close()
    assert (counters.catch_ups_encoded, counters.snapshots_encoded) == (2, 2)


async def test_an_answer_that_is_too_large_for_a_frame_tells_how_far_there_is_to_go() -> None:
    said = stream()
    bodies = said.since(0) or []
    room = FRAME_MARGIN + sum(len(body) + 5 for body in bodies[:2])
    asker = Asker()
    SyncDesk(MuxCounters(), frame_limit=room).answer(asker, said, missed(0))
    assert asker.heard == [CatchUp(7, bodies[:2], 3)]


@pytest.mark.parametrize(("room", "fits"), [(15, 1), (29, 1), (30, 2), (44, 2), (45, 3), (99, 3)])
def test_as_many_bodies_go_into_a_frame_as_fit_and_one_at_least(room: int, fits: int) -> None:
    bodies = [b"x" * 10] * 3
    assert fitting(bodies, FRAME_MARGIN + room) == bodies[:fits]
    assert fitting([b"x" * 99, b"y"], FRAME_MARGIN + 1) == [b"x" * 99]
