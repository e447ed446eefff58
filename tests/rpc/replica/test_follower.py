"""A follower by itself: when it connects, what it takes in, and how it begins."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from amzmq.rpc.replica import follower as module
from amzmq.rpc.replica.follower import RESYNC_WAIT, SUBSCRIBE_RETRY, Follower
from amzmq.wire.control import CatchUp, Sync
from amzmq.wire.schema import schema_value
from tests.rpc.replica.rig import (
    FAR,
    HERE,
    THERE,
    Caller,
    Lines,
    Stream,
    begun,
    follower,
    gaps,
    known_hash,
)
from tests.rpc.virtual_time import in_virtual_time
from tests.wire.rig import EPOCH, ID, NAMES, schema_of

# The feed's socket.


@in_virtual_time
async def test_the_first_to_join_connects_and_the_others_use_that() -> None:
    lines = Lines()
    made = follower(lines)
    assert made.feed == ""
    first, second = Caller(), Caller()
    made.join(first, HERE)
    made.join(second, HERE)
    assert (made.feed, lines.open, lines.all[0].topics) == (HERE, [HERE], [ID])
    assert made.members == (first, second)


@in_virtual_time
async def test_another_feed_is_taken_only_while_nobody_is_live() -> None:
    lines = Lines()
    made = follower(lines)
    stream = Stream()
    made.join(Caller(), THERE)
    assert lines.open == [THERE]
    live = Caller()
    await begun(made, stream, live)
    assert (made.feed, lines.open, len(lines.all)) == (HERE, [HERE], 2)
    made.join(Caller(), THERE)
    assert (made.feed, lines.open, len(lines.all)) == (HERE, [HERE], 2)


@in_virtual_time
async def test_without_anybody_live_nobody_listens() -> None:
    lines = Lines()
    made = follower(lines)
    first, second = await begun(made, Stream(), Caller(), Caller())
    made.pause(first)
    assert (lines.open, len(lines.all)) == ([HERE], 1)
    made.pause(second)
    assert (lines.open, made.feed, made.members) == ([], "", (first, second))
    made.join(first, HERE)
    assert lines.open == [HERE]


@in_virtual_time
async def test_when_the_one_whose_feed_it_is_goes_the_feed_of_another_is_used() -> None:
    lines, stream = Lines(), Stream()
    made = follower(lines)
    first, second, third = Caller(), Caller(), Caller()
    await begun(made, stream, first, feed=HERE)
    await begun(made, stream, second, feed=THERE)
    await begun(made, stream, third, feed="mem://elsewhere")
    assert lines.open == [HERE]
    made.pause(first)
    assert (made.feed, lines.open, lines.all[-1].topics) == (THERE, [THERE], [ID])


@in_virtual_time
async def test_when_one_of_another_feed_goes_the_feed_stays() -> None:
    lines, stream = Lines(), Stream()
    made = follower(lines)
    first, second = Caller(), Caller()
    await begun(made, stream, first, feed=HERE)
    await begun(made, stream, second, feed=THERE)
    made.pause(second)
    assert (made.feed, lines.open, len(lines.all)) == (HERE, [HERE], 1)


@in_virtual_time
async def test_the_last_to_leave_ends_it() -> None:
    lines = Lines()
    made = module.follower_of(ID, EPOCH, schema_of(*NAMES), None, lines)
    first, second = Caller(), Caller()
    made.join(first, HERE)
    made.join(second, HERE)
    made.leave(first)
    assert (lines.open, made.members) == ([], (second,))  # nobody was live
    assert module.follower_of(ID, EPOCH, schema_of(*NAMES), None, lines) is made
    made.join(second, HERE)
    made.leave(second)
    assert (lines.open, made.members) == ([], ())
    assert module.follower_of(ID, EPOCH, schema_of(*NAMES), None, lines) is not made


@in_virtual_time
async def test_streams_and_transports_are_told_apart() -> None:
    schema, lines = schema_of(*NAMES), Lines()
    made = module.follower_of(ID, EPOCH, schema, None, lines)
    other = module.follower_of(b"otherone", EPOCH, schema, None, lines)
    beside = module.follower_of(ID, EPOCH, schema, None, Lines())
    assert len({made, other, beside}) == 3
    member = Caller()
    other.join(member, HERE)
    other.leave(member)
    assert module.follower_of(ID, EPOCH, schema, None, lines) is made
    assert module.follower_of(b"otherone", EPOCH, schema, None, lines) is not other


@in_virtual_time
async def test_only_a_transport_of_its_own_is_closed_and_only_when_nobody_is_left() -> None:
    lines = Lines()
    given = follower(lines)
    await given.close()
    assert not lines.closed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ZmqTransport", lambda: lines)
        own = Follower(ID, EPOCH, schema_of(*NAMES), None)
    member = Caller()
    own.join(member, HERE)
    assert lines.open == [HERE]
    await own.close()
    assert not lines.closed
    own.leave(member)
    await own.close()
    assert lines.closed


# Whether the feed arrives.


@in_virtual_time
async def test_a_young_frame_is_enough_to_know_that_the_feed_arrives() -> None:
    lines, stream = Lines(), Stream()
    made = follower(lines)
    (member,) = await begun(made, stream, Caller())
    await asyncio.sleep(5)
    made.on_frames(stream.say())
    await asyncio.sleep(1)
    await made.arrived(member, 1.5)
    assert (asyncio.get_running_loop().time(), lines.all[0].topics) == (6, [ID])


@in_virtual_time
async def test_an_old_frame_is_not_enough_and_the_subscription_is_repeated() -> None:
    lines, stream = Lines(), Stream()
    made = follower(lines)
    (member,) = await begun(made, stream, Caller())
    await asyncio.sleep(5)
    made.on_frames(stream.say())
    await asyncio.sleep(1)
    waiting = [asyncio.create_task(made.arrived(member, 1.0)) for _ in range(2)]
    await asyncio.sleep(0)
    assert lines.all[0].topics == [ID] * 3
    await asyncio.sleep(SUBSCRIBE_RETRY * 2.5)
    assert lines.all[0].topics == [ID] * 7
    assert not any(task.done() for task in waiting)
    made.on_frames(stream.say())
    await asyncio.gather(*waiting)
    await asyncio.sleep(10)
    assert lines.all[0].topics == [ID] * 7


@in_virtual_time
async def test_while_nobody_is_live_only_a_frame_that_comes_now_counts() -> None:
    lines, stream = Lines(), Stream()
    made = follower(lines)
    member = Caller()
    made.join(member, HERE)
    made.on_frames(stream.say())
    waiting = asyncio.create_task(made.arrived(member, FAR))
    await asyncio.sleep(SUBSCRIBE_RETRY / 2)
    assert (waiting.done(), lines.all[0].topics) == (False, [ID])
    made.on_frames(stream.say())
    await waiting


@in_virtual_time
async def test_who_waits_for_the_feed_connects_again_when_the_others_have_left() -> None:
    lines, stream = Lines(), Stream()
    made = follower(lines)
    (live,) = await begun(made, stream, Caller())
    member = Caller()
    made.join(member, THERE)
    waiting = asyncio.create_task(made.arrived(member, 0.0))
    await asyncio.sleep(0)
    made.leave(live)
    assert lines.open == []
    await asyncio.sleep(SUBSCRIBE_RETRY)
    assert (lines.open, lines.all[-1].topics) == ([THERE], [ID])
    made.on_frames(stream.say())
    await waiting


@in_virtual_time
async def test_who_gave_up_waiting_for_the_feed_does_not_disturb_the_others() -> None:
    made, stream = follower(), Stream()
    member = Caller()
    made.join(member, HERE)
    gone = asyncio.create_task(made.arrived(member, 0.0))
    stays = asyncio.create_task(made.arrived(member, 0.0))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    made.on_frames(stream.say())
    await stays
    assert gone.cancelled()


# What is taken in.


@in_virtual_time
async def test_frames_that_arrive_together_are_all_taken_in() -> None:
    made, stream = follower(), Stream()
    (member,) = await begun(made, stream, Caller())
    made.on_frames(stream.say(3))
    assert (made.number, made.clock.ticks) == (3, [3, 0, 0])
    stream.say()
    stream.frames.append(stream.writer.payload("p", 7, b"t"))
    stream.say(2)
    made.on_frames(stream.frames[3:])
    assert (made.number, made.clock.ticks[0], member.payloads) == (7, 7, [7])
    assert (made.counts()["updates"], made.counts()["duplicates"]) == (6, 0)


@in_virtual_time
async def test_payloads_go_to_all_who_follow() -> None:
    made, stream = follower(), Stream()
    members = await begun(made, stream, Caller(), Caller())
    made.on_frames([stream.writer.payload("p", "x", b"t")])
    assert [member.payloads for member in members] == [["x"], ["x"]]


@in_virtual_time
async def test_who_waits_for_a_number_is_told_of_each_until_it_is_enough() -> None:
    made, stream = follower(), Stream()
    waiting, other = await begun(made, stream, Caller(), Caller())
    waiting.waits_for = 2
    made.await_number(waiting)
    for _ in range(3):
        made.on_frames(stream.say())
    assert (waiting.numbers, other.numbers) == ([1, 2], [])


@in_virtual_time
async def test_who_left_is_told_nothing_any_more() -> None:
    made, stream = follower(), Stream()
    gone, stays = await begun(made, stream, Caller(), Caller())
    gone.waits_for = 9
    made.await_number(gone)
    made.leave(gone)
    made.on_frames(stream.say())
    assert (gone.numbers, made.members) == ([], (stays,))


@in_virtual_time
async def test_what_cannot_be_read_is_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made, stream = follower(), Stream()
    await begun(made, stream)
    with caplog.at_level(logging.WARNING):
        made.on_frames([ID + b"\x07nonsense"])
        assert len(caplog.records) == 1
        made.on_frames([ID + b"\x07nonsense"])
        assert made.on_bodies([b"\x07nonsense"]) == 0
    assert made.counts()["garbage"] == 3
    assert len(caplog.records) == 1
    made.on_frames(stream.say())
    assert made.number == 1


@in_virtual_time
async def test_a_schema_that_does_not_fit_is_told_to_all() -> None:
    made, stream = follower(), Stream()
    members = await begun(made, stream, Caller(), Caller())
    frame = stream.writer.change_schema(schema_of("A", "Exception"))
    made.on_frames([frame])
    assert [len(member.misfits) for member in members] == [1, 1]
    less = schema_value(schema_of("A", "Exception"))
    made.on_snapshot(stream.snapshot(9)._replace(schema=less))
    assert [len(member.misfits) for member in members] == [2, 2]


@in_virtual_time
async def test_a_schema_that_grows_is_adopted() -> None:
    made, stream = follower(), Stream(2)
    await begun(made, stream)
    made.on_frames([stream.writer.change_schema(schema_of(*NAMES, "New"))])
    assert made.clock.schema.names == (*NAMES, "New")
    assert made.clock.ticks == [2, 0, 0, 0]


@in_virtual_time
async def test_the_bodies_of_a_reply_are_taken_in_and_tell_how_far_they_lead() -> None:
    made, stream = follower(), Stream(1)
    (member,) = await begun(made, stream, Caller())
    member.waits_for = 3
    made.await_number(member)
    stream.say(2)
    bodies = stream.writer.since(1) or []
    assert made.on_bodies(bodies) == 3
    assert (made.number, member.numbers) == (3, [3])
    assert made.on_bodies(bodies[:1]) == 2
    assert made.on_bodies([bodies[1], bodies[0]]) == 3
    assert made.on_bodies([]) == 0


# Beginning.


@in_virtual_time
async def test_the_first_question_is_for_a_snapshot() -> None:
    made, stream = follower(), Stream(4)
    member = Caller()
    made.join(member, HERE)
    beginning = asyncio.create_task(made.begin(member, EPOCH, FAR))
    await asyncio.sleep(0)
    assert member.asked == [Sync(1, b"", 0, known_hash())]
    made.on_snapshot(stream.snapshot(1))
    await beginning
    assert (made.number, made.epoch, gaps(made)) == (4, EPOCH, (0, 0))
    await asyncio.sleep(100)
    assert len(member.asked) == 1


@in_virtual_time
async def test_no_answer_in_time_is_an_error_and_the_next_question_has_another_number() -> None:
    made, stream = follower(), Stream(4)
    member = Caller()
    made.join(member, HERE)
    with pytest.raises(TimeoutError):
        await made.begin(member, EPOCH, 3)
    assert asyncio.get_running_loop().time() == 3
    made.on_snapshot(stream.snapshot(1))  # too late to be waited for, not to be used
    assert made.number == 4
    asking = asyncio.create_task(made.sync(member, 3))
    await asyncio.sleep(0)
    assert member.asked[1:] == [Sync(2, EPOCH, 4, known_hash())]
    made.on_catch_up(CatchUp(1, []))
    await asyncio.sleep(1)
    assert not asking.done()
    made.on_catch_up(CatchUp(2, []))
    await asking


@in_virtual_time
async def test_coming_back_to_the_same_epoch_resumes_and_counts_what_was_missed() -> None:
    made, stream = follower(), Stream(2)
    (member,) = await begun(made, stream, Caller())
    made.pause(member)
    stream.say(3)
    made.join(member, HERE)
    beginning = asyncio.create_task(made.begin(member, EPOCH, FAR))
    await asyncio.sleep(0)
    (question,) = member.asked
    assert question == Sync(2, EPOCH, 2, known_hash())
    made.on_catch_up(stream.since(2, 2))
    await beginning
    assert (made.number, gaps(made)) == (5, (1, 1))


@in_virtual_time
async def test_coming_back_with_nothing_missed_counts_nothing() -> None:
    made, stream = follower(), Stream(2)
    (member,) = await begun(made, stream, Caller())
    made.pause(member)
    beginning = asyncio.create_task(made.begin(member, EPOCH, FAR))
    await asyncio.sleep(0)
    made.on_catch_up(CatchUp(2, []))
    await beginning
    assert gaps(made) == (0, 0)


@in_virtual_time
async def test_what_comes_while_another_is_live_is_no_gap_of_whoever_joins() -> None:
    made, stream = follower(), Stream(2)
    await begun(made, stream, Caller())
    joining = Caller()
    made.join(joining, HERE)
    beginning = asyncio.create_task(made.begin(joining, EPOCH, FAR))
    await asyncio.sleep(0)
    made.on_frames(stream.say())
    made.on_catch_up(CatchUp(2, []))
    await beginning
    assert (made.number, gaps(made)) == (3, (0, 0))


@in_virtual_time
async def test_a_gap_that_was_known_before_the_pause_is_counted_once() -> None:
    made, stream = follower(), Stream(2)
    (member,) = await begun(made, stream, Caller())
    stream.say()
    made.on_frames(stream.say())
    assert gaps(made) == (1, 0)
    made.pause(member)
    beginning = asyncio.create_task(made.begin(member, EPOCH, FAR))
    await asyncio.sleep(0)
    made.on_catch_up(stream.since(2, 2))
    await beginning
    assert (made.number, gaps(made)) == (4, (1, 1))


@in_virtual_time
async def test_another_epoch_starts_over_with_a_snapshot() -> None:
    made, stream = follower(), Stream(5)
    (member,) = await begun(made, stream, Caller())
    made.pause(member)
    made.join(member, HERE)
    beginning = asyncio.create_task(made.begin(member, b"epoch-02", FAR))
    await asyncio.sleep(0)
    assert member.asked == [Sync(2, b"", 0, known_hash())]
    made.on_snapshot(Stream(1).snapshot(2))
    await beginning
    assert (made.number, made.epoch, gaps(made)) == (1, b"epoch-02", (0, 0))


@in_virtual_time
async def test_who_left_while_it_began_is_not_asked_later() -> None:
    made, stream = follower(), Stream(1)
    (stays,) = await begun(made, stream, Caller())
    gone = Caller()
    made.join(gone, HERE)
    beginning = asyncio.create_task(made.begin(gone, EPOCH, FAR))
    await asyncio.sleep(0)
    made.leave(gone)
    made.on_catch_up(CatchUp(2, []))
    await beginning
    gone.asked.clear()
    stream.say()
    made.on_frames(stream.say())
    await asyncio.sleep(20)
    assert (gone.asked, len(stays.asked) > 3) == ([], True)


@in_virtual_time
async def test_a_snapshot_that_cannot_be_used_is_asked_for_again() -> None:
    made, stream = follower(), Stream(3)
    member = Caller()
    made.join(member, HERE)
    beginning = asyncio.create_task(made.begin(member, EPOCH, FAR))
    await asyncio.sleep(0)
    made.on_snapshot(stream.snapshot(1)._replace(checksum=1))
    await beginning
    assert (made.number, made.counts()["garbage"]) == (-1, 1)
    await asyncio.sleep(RESYNC_WAIT)
    assert member.asked[1:] == [Sync(2, b"", 0, known_hash())]
    made.on_snapshot(stream.snapshot(2))
    assert made.number == 3
    await asyncio.sleep(100)
    assert len(member.asked) == 2


def futures() -> int:
    return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())


@in_virtual_time
async def test_questions_leave_nothing_behind_whether_they_were_answered_or_not() -> None:
    made = follower()
    (member,) = await begun(made, Stream(), Caller())
    before = futures()
    for _ in range(20):
        asking = asyncio.create_task(made.sync(member, FAR))
        await asyncio.sleep(0)
        made.on_catch_up(CatchUp(member.asked[-1].request, []))
        await asking
        with pytest.raises(TimeoutError):
            await made.sync(member, 1)
    assert futures() < before + 10
