"""One client's server: its handshake, waits, payloads, its next connection and its end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from amzmq.errors import (
    LimitExceeded,
    NoAccess,
)
from amzmq.machine import Machine, Result
from amzmq.rpc.server.followed_streams import FollowedStream
from amzmq.rpc.server.held_rights import HeldRights
from amzmq.rpc.server.limits import Limits
from amzmq.rpc.server.receipt import Receipt
from amzmq.rpc.server.rights import Rights
from amzmq.wire.control import (
    Ack,
    Bye,
    CatchUp,
    Directed,
    NsReport,
    Ping,
    Pong,
    Refusal,
    RefusalCode,
    Reply,
    SnapshotReply,
    Sync,
    Unwatch,
    Watched,
)
from amzmq.wire.view import EVERYTHING, View
from tests.rpc.server.rig import (
    NEVER,
    STATES,
    A,
    B,
    Desk,
    Slow,
    level,
    mutate,
    watch,
)
from tests.rpc.virtual_time import in_virtual_time

# What it is at first.


@in_virtual_time
async def test_a_new_server_has_heard_of_nothing_yet() -> None:
    await asyncio.sleep(5)
    desk = Desk()
    server = desk.server()
    assert (server.number, server.payloads_failed, server.understood) == (-1, 0, ())
    assert (server.wants_news, server.last_seen, server.lag) == (False, 5, 0)
    assert (server.mach.id, server.mach.tags) == ("rs-rc-me", ("rpc-server",))
    assert server.mach.is_("Start", "RpcReady", "ClientConnected", "Handshaking")
    assert server.mach.tick("RpcAccepting") == 2
    assert server.mach.not_("HandshakeDone", "Ready")
    assert desk.heard == []


@in_virtual_time
async def test_its_machine_belongs_to_the_one_of_the_mux() -> None:
    desk = Desk()
    server = desk.server()
    desk.mach.dispose()
    async with asyncio.timeout(1):
        await server.mach.when_disposed()


@in_virtual_time
async def test_the_lag_is_that_of_all_its_streams() -> None:
    desk = Desk()
    server = desk.server()
    other = desk.feed_of(Machine(STATES, id="other"))
    followed = FollowedStream(other, other.join(EVERYTHING), HeldRights(other.source, None))
    server.followed.add(followed)
    assert server.was_given(server.stream.stream_id)
    assert server.was_given(followed.stream.stream_id)
    assert not server.was_given(b"anything")
    for name in ("A", "B"):
        desk.source.add(name)
        desk.feed.flush()
    other.source.add("A")
    other.flush()
    assert server.lag == 3
    server.ping(Ping(1, 0, [[followed.stream.stream_id, 1]]))
    assert server.lag == 1


# What the client misses.


@in_virtual_time
async def test_the_first_question_ends_the_handshake_and_brings_what_there_is() -> None:
    desk = Desk()
    server = desk.server()
    desk.source.add("A")
    server.sync(Sync(3, b"", 0))
    answer = desk.only(SnapshotReply)
    assert (answer.request, answer.number, answer.ticks[A]) == (3, 1, 1)  # flushed before
    assert server.mach.is_("HandshakeDone", "Ready")
    assert server.mach.tick("MetricSync") == 1
    server.sync(Sync(4, b"epoch-01", 1))
    assert desk.only(CatchUp) == CatchUp(4, [])
    assert server.mach.tick("MetricSync") == 3
    assert server.mach.tick("HandshakeDone") == 1


@in_virtual_time
async def test_a_stream_may_be_asked_for_by_its_id() -> None:
    desk = Desk()
    server = desk.server()
    other = desk.feed_of(Machine(STATES, id="other"))
    followed = FollowedStream(other, other.join(EVERYTHING), HeldRights(other.source, None))
    server.followed.add(followed)
    other.source.add("B")
    server.sync(Sync(3, b"", 0, b"", followed.stream.stream_id))
    answer = desk.only(SnapshotReply)
    assert (answer.request, answer.number, answer.ticks[B]) == (3, 1, 1)
    assert server.mach.not_("HandshakeDone")
    server.sync(Sync(4, b"", 0, b"", server.stream.stream_id))
    assert desk.only(SnapshotReply).request == 4
    assert server.mach.is_("HandshakeDone")


@in_virtual_time
async def test_a_stream_that_is_not_followed_is_refused() -> None:
    desk = Desk()
    server = desk.server()
    server.sync(Sync(3, b"", 0, b"", b"anything"))
    refusal = desk.only(Refusal)
    assert (refusal.request, refusal.code) == (3, RefusalCode.MACHINE_UNKNOWN)
    assert "is not followed here" in refusal.reason
    assert server.mach.tick("MetricSync") == 0
    assert server.mach.not_("HandshakeDone")


@in_virtual_time
async def test_a_ping_says_how_far_the_client_is_and_the_answer_how_far_there_is_to_go() -> None:
    desk = Desk()
    server = desk.server()
    desk.source.add("A")
    desk.feed.flush()
    server.ping(Ping(1, 4))
    assert (server.number, server.payloads_failed) == (1, 4)
    assert desk.only(Pong) == Pong(1)


@in_virtual_time
async def test_a_planned_end_is_told_with_the_last_message_of_the_stream() -> None:
    desk = Desk()
    server = desk.server()
    desk.source.add("A")
    desk.feed.flush()
    server.bye("enough")
    assert desk.only(Bye) == Bye("enough", [[server.stream.stream_id, 1]])


# How much may be asked.


@in_virtual_time
async def test_questions_beyond_the_rate_are_counted_and_others_refused() -> None:
    desk = Desk(limits=Limits(requests_per_second=2, requests_burst=2))
    server = desk.server()
    assert [server.may_ask() for _ in range(3)] == [True, True, False]
    with pytest.raises(LimitExceeded, match=r"more requests of rc-me than .*: wait 0\.5 s, then"):
        server.check_rate()
    assert desk.guard.metrics()["over_requests_per_second"] == 2
    await asyncio.sleep(0.5)
    server.check_rate()
    assert not server.may_ask()


@in_virtual_time
async def test_a_mutation_beyond_the_rate_is_refused_and_may_be_tried_again() -> None:
    desk = Desk(limits=Limits(requests_per_second=1, requests_burst=1))
    server = desk.server()
    server.mutate(mutate(1, A))
    server.mutate(mutate(2, B))
    done, refused = desk.answer()
    assert isinstance(done, Reply)
    assert isinstance(refused, Refusal)
    assert (refused.request, refused.code) == (2, RefusalCode.LIMIT)
    assert desk.source.not_("B")
    await asyncio.sleep(1)
    server.mutate(mutate(2, B))
    assert desk.only(Reply).request == 2
    assert desk.source.is_("B")


@in_virtual_time
async def test_a_retry_beyond_the_rate_is_not_answered_as_it_was_done() -> None:
    desk = Desk(limits=Limits(requests_per_second=1, requests_burst=1))
    server = desk.server()
    server.mutate(mutate(1, A))
    assert desk.only(Reply).request == 1
    server.mutate(mutate(1, A))
    assert desk.answer() == []
    await asyncio.sleep(1)
    server.mutate(mutate(1, A))
    assert desk.only(Reply).request == 1
    assert desk.source.tick("A") == 1


@in_virtual_time
async def test_arguments_beyond_the_limits_are_refused() -> None:
    desk = Desk(limits=Limits(args=1))
    server = desk.server()
    level(desk, server)
    server.mutate(mutate(1, A, args={"a": 1, "b": 2}))
    server.watch(watch(2, A, args={"a": 1, "b": 2}))
    codes = {(it.request, it.code) for it in desk.answer() if isinstance(it, Refusal)}
    assert codes == {(1, RefusalCode.LIMIT), (2, RefusalCode.LIMIT)}
    assert desk.source.not_("A")


@in_virtual_time
async def test_only_so_many_mutations_may_be_in_flight() -> None:
    source = Slow()
    desk = Desk(source, limits=Limits(requests_in_flight=2))
    server = desk.server()
    for request in (1, 2, 3):
        server.mutate(mutate(request, A))
    refusal = desk.only(Refusal)
    assert (refusal.request, refusal.code, len(source.futures)) == (3, RefusalCode.LIMIT, 2)
    assert "2 mutations without a result yet" in refusal.reason
    source.futures[0].set_result(Result.EXECUTED)
    await asyncio.sleep(0)
    server.mutate(mutate(3, A))
    assert len(source.futures) == 3
    assert desk.only(Reply).request == 1


# Waits at the source.


@in_virtual_time
async def test_a_wait_is_told_once_it_is_over_behind_the_change() -> None:
    desk = Desk()
    server = desk.server()
    level(desk, server)
    server.watch(watch(7, A, args={"n": 1}))
    desk.source.add("A", n=2)
    desk.source.remove("A")
    await asyncio.sleep(0.1)
    assert desk.answer() == []
    desk.source.add("A", n=1)
    await asyncio.sleep(0.1)
    assert desk.only(Watched) == Watched(7, server.stream.head)


@in_virtual_time
async def test_a_wait_that_is_of_no_interest_any_more_is_not_told() -> None:
    desk = Desk()
    server = desk.server()
    level(desk, server)
    server.watch(watch(7, A, args={"n": 1}))
    server.unwatch(Unwatch(7))
    desk.source.add("A", n=1)
    await asyncio.sleep(0.1)
    assert (desk.answer(), len(server.watches)) == ([], 0)


@in_virtual_time
async def test_waits_beyond_the_rate_or_for_nothing_are_refused() -> None:
    desk = Desk(limits=Limits(requests_per_second=1, requests_burst=2))
    server = desk.server()
    level(desk, server)
    server.watch(watch(1, 99))
    server.watch(watch(2, A, B))
    server.watch(watch(3, A))
    refusals = [(it.request, it.code) for it in desk.answer() if isinstance(it, Refusal)]
    assert refusals == [(1, RefusalCode.BAD_REQUEST), (2, 3), (3, RefusalCode.LIMIT)]


@in_virtual_time
async def test_before_the_handshake_is_over_no_wait_is_told() -> None:
    desk = Desk()
    server = desk.server()
    server.watch(watch(7, A, args={"n": 1}))
    desk.source.add("A", n=1)
    await asyncio.sleep(0.1)
    assert desk.answer() == []
    server.sync(Sync(1, b"", 0))
    desk.answer()
    server.watch(watch(7, A, args={"n": 1}))
    assert desk.only(Watched).request == 7


# Payloads for it alone.


def receipt() -> Receipt:
    return Receipt(b"token", "p", "rc-me")


@in_virtual_time
async def test_a_payload_follows_the_changes_made_before_it() -> None:
    desk = Desk()
    server = desk.server()
    level(desk, server)
    desk.source.add("A")
    sent = receipt()
    server.send_payload(sent, [1], "tx", None, "far")
    assert desk.only(Directed) == Directed(1, 1, "p", [1], b"token", "tx", None, "far")
    server.send_payload(receipt(), 2, "", [b"blob"])
    second = desk.only(Directed)
    assert (second.ordinal, second.blob, second.source) == (2, [b"blob"], "")
    server.ack(Ack(1))
    assert (sent.done(), len(server.outbox)) == (True, 1)
    server.ack(Ack(2, [[2, "of no use"]]))
    assert (server.outbox.failed, len(server.outbox)) == (1, 0)


@in_virtual_time
async def test_who_may_not_have_payloads_is_sent_none() -> None:
    desk = Desk(rights=Rights(payload=False))
    server = desk.server()
    assert not server.may_receive_payloads
    with pytest.raises(NoAccess, match="payload 'p': rc-me may not receive any"):
        server.send_payload(receipt(), 1, "")
    assert (desk.heard, desk.guard.denied) == ([], 1)
    desk.rights = Rights(payload=True)
    assert desk.server().may_receive_payloads
    desk.rights = None
    assert desk.server().may_receive_payloads


@in_virtual_time
async def test_payloads_are_sent_again_when_the_handshake_is_over_and_only_then() -> None:
    desk = Desk()
    server = desk.server()
    server.send_payload(receipt(), 1, "")
    desk.answer()
    server.sync(Sync(1, b"", 0))
    snapshot, payload = desk.answer()
    assert isinstance(snapshot, SnapshotReply)
    assert isinstance(payload, Directed)
    server.sync(Sync(2, b"", 0))
    assert desk.only(SnapshotReply).request == 2


# The same client on another connection.


@in_virtual_time
async def test_who_comes_back_goes_on_where_it_was() -> None:
    desk = Desk()
    older = desk.server()
    level(desk, older)
    older.ping(Ping(3, 2))
    older.mutate(mutate(1, A))
    older.mutate(mutate(0, NEVER))
    older.send_payload(receipt(), 1, "")
    older.watch(watch(7, B, args={"n": 1}))
    desk.answer()
    newer = desk.server()
    newer.take_over(older)
    assert (newer.number, newer.payloads_failed) == (3, 2)
    newer.sync(Sync(1, b"", 0))
    report, _, payload = desk.answer()
    assert report == NsReport(1, 1, 0, "")
    assert isinstance(payload, Directed)
    before = desk.source.queue_tick
    newer.mutate(mutate(1, A))
    assert desk.only(Reply).request == 1
    assert desk.source.queue_tick == before
    assert len(newer.watches) == 1
    desk.source.add("B", n=1)
    await asyncio.sleep(0.1)
    assert desk.only(Watched).request == 7


@in_virtual_time
async def test_what_ran_for_the_older_connection_is_answered_on_the_newer() -> None:
    source = Slow()
    desk = Desk(source)
    older = desk.server()
    older.mutate(mutate(1, A))
    newer = desk.server()
    newer.take_over(older)
    newer.mutate(mutate(1, A))
    assert len(source.futures) == 1
    source.futures[0].set_result(Result.EXECUTED)
    await asyncio.sleep(0)
    assert desk.answering == [newer]
    assert desk.only(Reply).request == 1
    newer.mutate(mutate(1, A))
    assert desk.only(Reply).request == 1
    assert len(source.futures) == 1


@in_virtual_time
async def test_with_other_rights_waits_and_payloads_do_not_go_on() -> None:
    desk = Desk(rights=Rights())
    older = desk.server()
    sent = receipt()
    older.send_payload(sent, 1, "")
    older.watch(watch(7, A))
    desk.rights = Rights(payload=False)
    newer = desk.server()
    newer.take_over(older)
    assert (len(older.watches), len(newer.watches), len(newer.outbox)) == (0, 0, 0)
    assert newer.watches is not older.watches
    with pytest.raises(Exception, match="its user may not receive payloads any more"):
        sent.result(0)


@in_virtual_time
async def test_with_the_same_rights_they_do() -> None:
    desk = Desk(rights=Rights())
    older = desk.server()
    sent = receipt()
    older.send_payload(sent, 1, "")
    older.watch(watch(7, A))
    newer = desk.server()
    newer.take_over(older)
    assert (len(newer.watches), len(newer.outbox), sent.done()) == (1, 1, False)


@in_virtual_time
async def test_what_it_followed_is_left_once_it_has_asked_for_what_it_wants() -> None:
    desk = Desk()
    other = desk.feed_of(Machine(STATES, id="other"))
    view = View(schema=False)
    older = desk.server()
    followed = FollowedStream(other, other.join(view), HeldRights(other.source, None))
    older.followed.add(followed)
    newer = desk.server()
    newer.take_over(older)
    assert len(list(other.streams)) == 2
    newer.sync(Sync(1, b"", 0))
    assert len(list(other.streams)) == 1
    newer.followed.add(FollowedStream(other, other.join(view), HeldRights(other.source, None)))
    newer.sync(Sync(2, b"", 0))
    assert len(newer.followed) == 1


@in_virtual_time
async def test_what_it_follows_now_stays_at_its_first_question() -> None:
    desk = Desk()
    other = desk.feed_of(Machine(STATES, id="other"))
    server = desk.server()
    server.followed.add(
        FollowedStream(other, other.join(EVERYTHING), HeldRights(other.source, None))
    )
    server.sync(Sync(1, b"", 0))
    assert len(server.followed) == 1


# Its end.


@in_virtual_time
async def test_who_is_gone_for_now_is_told_nothing_and_loses_nothing() -> None:
    desk = Desk(snapshots_at_once=1)
    server = desk.server()
    level(desk, server)
    server.send_payload(receipt(), 1, "")
    server.watch(watch(7, A))
    server.sync(Sync(2, b"", 0))
    assert desk.desk.waiting == 1
    desk.answer()
    states: list[list[str]] = []
    server.mach.when_not("HandshakeDone").add_done_callback(
        lambda: states.append(server.mach.active_states())
    )
    server.close()
    assert desk.desk.waiting == 0
    assert server.mach.is_disposed
    (left,) = states
    assert set(left) == {"MetricSync", "Start", "RpcReady"}
    desk.source.add("A")
    await asyncio.sleep(0.1)
    assert desk.answer() == []
    assert (len(server.outbox), len(list(desk.feed.streams))) == (1, 1)


@in_virtual_time
async def test_of_who_will_not_come_back_nothing_is_kept() -> None:
    desk = Desk()
    view = View(schema=False)
    other = desk.feed_of(Machine(STATES, id="other"))
    older, server = desk.server(view), desk.server(view)
    for each in (older, server):
        each.followed.add(FollowedStream(other, other.join(view), HeldRights(other.source, None)))
    server.take_over(older)
    sent = receipt()
    server.send_payload(sent, 1, "")
    server.watch(watch(7, A))
    assert (len(list(desk.feed.streams)), len(list(other.streams))) == (2, 2)
    server.forget()
    assert (len(server.watches), len(server.outbox), sent.done()) == (0, 0, True)
    assert (len(server.followed), len(older.followed)) == (0, 0)
    assert len(list(other.streams)) == 1
    assert len(list(desk.feed.streams)) == 2  # the older one is still there
    older.forget()
    assert len(list(desk.feed.streams)) == 1


@in_virtual_time
async def test_refusals_are_logged_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    server = desk.server()
    with caplog.at_level(logging.WARNING, "amzmq.server"):
        for _ in range(9):
            server.sync(Sync(3, b"", 0, b"", b"anything"))
    told = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert told == ["1)", "2)", "4)", "8)"]
    assert len(desk.answer()) == 9
