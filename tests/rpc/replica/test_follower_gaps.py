"""What a follower does about what is missing: when it asks, whom, how often, and for what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from amzmq.rpc.replica import follower as module
from amzmq.rpc.replica.follower import RESYNC_RETRY, RESYNC_WAIT, Follower
from amzmq.wire.control import CatchUp, Sync
from tests.rpc.replica.rig import (
    FAR,
    HERE,
    Caller,
    Stream,
    begun,
    follower,
    gaps,
    known_hash,
)
from tests.rpc.virtual_time import in_virtual_time
from tests.wire.rig import EPOCH, ID

# What is missing.


async def with_a_gap(*members: Caller) -> tuple[Follower, Stream, tuple[Caller, ...]]:
    """Members that have message 2; the third did not come, the fourth did."""
    made, stream = follower(), Stream(2)
    await begun(made, stream, *members)
    stream.say()
    made.on_frames(stream.say())
    return made, stream, members


@in_virtual_time
async def test_what_is_missing_is_asked_for_once_after_a_short_wait() -> None:
    made, stream, (member,) = await with_a_gap(Caller())
    assert member.asked == []
    made.on_frames(stream.say())
    await asyncio.sleep(RESYNC_WAIT)
    assert member.asked == [Sync(2, EPOCH, 2, known_hash())]
    assert 0 < member.times[0] <= RESYNC_WAIT
    made.on_catch_up(stream.since(2, 2))
    assert (made.number, gaps(made)) == (5, (1, 1))
    await asyncio.sleep(100)
    assert len(member.asked) == 1


@in_virtual_time
async def test_what_was_only_late_is_not_asked_for() -> None:
    made, stream, (member,) = await with_a_gap(Caller())
    made.on_frames([stream.frames[2]])
    assert made.number == 4
    await asyncio.sleep(100)
    assert (member.asked, gaps(made)) == ([], (1, 0))
    stream.say()
    made.on_frames(stream.say())
    await asyncio.sleep(RESYNC_WAIT)
    assert (len(member.asked), gaps(made)) == (1, (2, 1))


@in_virtual_time
async def test_a_question_without_an_answer_is_repeated_ever_more_rarely() -> None:
    made, _, (member,) = await with_a_gap(Caller())
    await asyncio.sleep(40)
    first, most = RESYNC_RETRY
    waits = [b - a for a, b in zip(member.times, member.times[1:], strict=False)]
    assert waits[:7] == pytest.approx([first, 1.0, 2.0, 4.0, most, most, most])
    assert [question.request for question in member.asked] == list(range(2, 2 + len(member.asked)))
    assert made.counts()["resyncs"] == len(member.asked)


@in_virtual_time
async def test_another_client_is_asked_each_time() -> None:
    _, _, (one, two) = await with_a_gap(Caller(), Caller())
    await asyncio.sleep(5)
    assert abs(len(one.asked) - len(two.asked)) <= 1
    assert sorted([*one.times, *two.times])[::2] in (one.times, two.times)


@in_virtual_time
async def test_the_answer_to_an_earlier_question_does_not_end_the_present_one() -> None:
    made, stream, (member,) = await with_a_gap(Caller())
    await asyncio.sleep(RESYNC_WAIT + 0.6)
    assert [question.request for question in member.asked] == [2, 3]
    made.on_catch_up(CatchUp(2, []))
    await asyncio.sleep(1)
    assert [question.request for question in member.asked] == [2, 3, 4]
    made.on_catch_up(CatchUp(4, []))  # it answers, and yet it is missing
    await asyncio.sleep(0.1)
    assert [question.request for question in member.asked] == [2, 3, 4, 5]
    made.on_catch_up(stream.since(5, 2))
    await asyncio.sleep(100)
    assert (made.number, len(member.asked)) == (4, 4)


@in_virtual_time
async def test_what_the_feed_brings_after_all_ends_the_questions() -> None:
    made, stream, (member,) = await with_a_gap(Caller())
    await asyncio.sleep(RESYNC_WAIT)
    made.on_frames([stream.frames[2]])
    await asyncio.sleep(100)
    assert (made.number, len(member.asked)) == (4, 1)


@in_virtual_time
async def test_who_cannot_ask_any_more_asks_nothing() -> None:
    made, _, (member,) = await with_a_gap(Caller())
    made.pause(member)
    await asyncio.sleep(100)
    assert member.asked == []


@in_virtual_time
async def test_after_a_pause_the_question_is_put_anew_and_as_soon_as_the_first_time() -> None:
    made, stream, (member,) = await with_a_gap(Caller())
    await asyncio.sleep(4)  # the next question would be put after four seconds more
    asked = len(member.asked)
    made.pause(member)
    await asyncio.sleep(1)
    assert len(member.asked) == asked
    await begun(made, stream, member)
    stream.say()
    made.on_frames(stream.say())
    await asyncio.sleep(RESYNC_WAIT * 2)
    assert len(member.asked) == 1


@in_virtual_time
async def test_after_an_answer_the_former_question_is_not_repeated() -> None:
    made, stream, (member,) = await with_a_gap(Caller())
    await asyncio.sleep(0.3)
    made.on_catch_up(stream.since(2, 2))
    stream.say()
    made.on_frames(stream.say())
    await asyncio.sleep(0.4)
    assert [question.request for question in member.asked] == [2, 3]


@in_virtual_time
async def test_answers_that_are_late_or_come_twice_stop_nothing() -> None:
    made, stream, (member,) = await with_a_gap(Caller())
    await asyncio.sleep(RESYNC_WAIT)
    made.on_catch_up(stream.since(2, 2))
    for request in (1, 2):
        await asyncio.sleep(10)
        made.expect(made.number + 1)
        made.on_catch_up(CatchUp(request, []))
        await asyncio.sleep(module.EXPECT_WAIT + RESYNC_WAIT)
        assert member.asked[-1].request == 2 + request
        made.on_frames(stream.say())


@in_virtual_time
@pytest.mark.parametrize("late", [1, 2])
async def test_answers_to_what_was_asked_before_a_pause_stop_nothing(late: int) -> None:
    made, stream, (member,) = await with_a_gap(Caller())
    await asyncio.sleep(RESYNC_WAIT)
    assert member.asked[-1].request == 2
    made.pause(member)
    await begun(made, stream, member)
    made.expect(5)
    made.on_catch_up(CatchUp(late, []))
    await asyncio.sleep(module.EXPECT_WAIT + RESYNC_WAIT * 2)
    assert [question.number for question in member.asked] == [4]


@in_virtual_time
async def test_a_head_that_was_told_before_the_first_answer_is_asked_for_as_well() -> None:
    made, stream = follower(), Stream(2)
    member = Caller()
    made.join(member, HERE)
    beginning = asyncio.create_task(made.begin(member, EPOCH, FAR))
    await asyncio.sleep(0)
    made.expect(3)
    made.on_snapshot(stream.snapshot(1))
    await beginning
    await asyncio.sleep(module.EXPECT_WAIT + RESYNC_WAIT)
    assert [question.number for question in member.asked] == [0, 2]


@in_virtual_time
async def test_after_drifting_a_snapshot_is_asked_for() -> None:
    made, stream = follower(), Stream(2)
    (member,) = await begun(made, stream, Caller())
    stream.writer.begin([(1, 8)], 3, 0)  # which nobody was told
    made.on_frames([stream.writer.heartbeat()])
    await asyncio.sleep(RESYNC_WAIT)
    assert member.asked == [Sync(2, b"", 2, known_hash())]
    made.on_snapshot(stream.snapshot(2))
    assert made.clock.ticks == [2, 8, 0]


@in_virtual_time
async def test_a_head_that_does_not_come_by_itself_is_asked_for() -> None:
    made, stream = follower(), Stream(2)
    (member,) = await begun(made, stream, Caller())
    made.expect(4)
    made.expect(5)
    await asyncio.sleep(module.EXPECT_WAIT * 0.9)
    assert member.asked == []
    await asyncio.sleep(module.EXPECT_WAIT * 0.1 + RESYNC_WAIT)
    assert member.asked == [Sync(2, EPOCH, 2, known_hash())]
    stream.say(3)
    made.on_catch_up(stream.since(2, 2))
    await asyncio.sleep(100)
    assert (made.number, len(member.asked), gaps(made)) == (5, 1, (1, 1))


@in_virtual_time
async def test_the_greatest_of_several_heads_is_asked_for_if_only_the_others_come() -> None:
    made, stream = follower(), Stream(2)
    (member,) = await begun(made, stream, Caller())
    for head in (3, 5, 4):
        made.expect(head)
    made.on_frames(stream.say())
    stream.say(2)  # which are lost
    await asyncio.sleep(module.EXPECT_WAIT + RESYNC_WAIT)
    assert [question.number for question in member.asked] == [3]


@in_virtual_time
async def test_a_head_of_an_epoch_that_is_over_is_not_asked_for() -> None:
    made = follower()
    (member,) = await begun(made, Stream(9), Caller())
    made.expect(10)
    beginning = asyncio.create_task(made.begin(member, b"another!", FAR))
    await asyncio.sleep(0)
    made.on_snapshot(Stream(1).snapshot(member.asked[-1].request))
    await beginning
    await asyncio.sleep(module.EXPECT_WAIT + RESYNC_WAIT)
    assert len(member.asked) == 1


@in_virtual_time
async def test_a_head_that_comes_by_itself_is_not_asked_for() -> None:
    made, stream = follower(), Stream(2)
    (member,) = await begun(made, stream, Caller())
    made.expect(3)
    await asyncio.sleep(module.EXPECT_WAIT / 2)
    made.on_frames(stream.say())
    await asyncio.sleep(100)
    assert (member.asked, gaps(made)) == ([], (0, 0))
    made.expect(4)
    await asyncio.sleep(module.EXPECT_WAIT + RESYNC_WAIT)
    assert len(member.asked) == 1


# An answer in parts.


async def in_parts(*members: Caller) -> tuple[Follower, Stream, asyncio.Task[None]]:
    """The first member asks for everything, and gets the first of it."""
    made, stream = follower(), Stream(1)
    await begun(made, stream, *members)
    stream.say(4)
    asking = asyncio.create_task(made.sync(members[0], FAR))
    await asyncio.sleep(0)
    members[0].asked.clear()
    request = len(members) + 1
    made.on_catch_up(CatchUp(request, (stream.writer.since(1) or [])[:2], 5))
    await asyncio.sleep(0)
    return made, stream, asking


@in_virtual_time
async def test_what_did_not_fit_into_an_answer_is_asked_for_in_the_name_of_the_same_question() -> (
    None
):
    member = Caller()
    made, stream, asking = await in_parts(member)
    assert not asking.done()
    assert member.asked == [Sync(2, EPOCH, 3, known_hash())]
    made.on_catch_up(CatchUp(2, stream.writer.since(3) or [], 5))
    await asking
    assert (made.number, len(member.asked)) == (5, 1)


@in_virtual_time
async def test_the_next_part_is_asked_of_one_who_has_a_connection() -> None:
    one, two, three = Caller(), Caller(), Caller()
    made, stream = follower(), Stream(1)
    await begun(made, stream, one, two, three)
    stream.say(4)
    one.connected = False
    made.on_catch_up(CatchUp(9, (stream.writer.since(1) or [])[:2], 5))
    assert (one.asked, two.asked, three.asked) == ([], [Sync(9, EPOCH, 3, known_hash())], [])


@in_virtual_time
async def test_an_answer_that_leads_nowhere_ends_the_question() -> None:
    member = Caller()
    made, _, asking = await in_parts(member)
    made.on_catch_up(CatchUp(2, [], 5))
    await asking
    assert (made.number, len(member.asked)) == (3, 1)


@in_virtual_time
async def test_each_part_moves_on_who_waits_for_a_number() -> None:
    made, stream = follower(), Stream(1)
    (member,) = await begun(made, stream, Caller())
    member.waits_for = 5
    made.await_number(member)
    stream.say(4)
    bodies: Sequence[bytes] = stream.writer.since(1) or []
    made.on_catch_up(CatchUp(9, list(bodies[:2]), 5))
    assert member.numbers == [3]
    made.on_catch_up(CatchUp(9, list(bodies[2:]), 5))
    assert member.numbers == [3, 5]


@in_virtual_time
async def test_an_answer_that_shows_a_drift_is_followed_by_the_question_for_a_snapshot() -> None:
    made, stream, other = follower(), Stream(1), Stream()
    (member,) = await begun(made, stream, Caller())
    stream.say(4)
    other.writer.begin([(1, 8)], 1, 0)
    other.say(3)
    bodies = [(stream.writer.since(1) or [])[0], (other.writer.since(2) or [])[0]]
    made.on_catch_up(CatchUp(9, bodies, 5))
    assert (made.number, made.counts()["mismatches"]) == (2, 1)
    assert member.asked == [Sync(9, b"", 2, known_hash())]


# Handing on.


class Handed:
    """A relay's end: what it was handed, as it came."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def forward(self, frames: Sequence[bytes]) -> None:
        self.frames += frames

    def passed(self, body: bytes) -> None:
        self.frames.append(ID + body)

    def restarted(self, number: int) -> None:
        """Nothing here starts anew."""


@in_virtual_time
async def test_a_relay_is_handed_what_comes_from_now_on_and_it_is_applied_here_too() -> None:
    made, stream = follower(), Stream(2)
    await begun(made, stream)
    made.on_frames(stream.say())
    handed = Handed()
    reader = made.relay(handed)
    made.on_frames(stream.say(2))
    assert made.on_bodies([stream.say()[0][len(ID) :]]) == 6
    assert handed.frames == stream.frames[3:]
    assert (reader.number, made.number, made.clock.ticks) == (6, 6, [6, 0, 0])
    reader.release()
    made.on_frames(stream.say())
    assert (len(handed.frames), made.number) == (3, 7)
