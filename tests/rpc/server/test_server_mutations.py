"""Mutations at one client's server: run once, answered, remembered, refused, counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from amzmq.errors import (
    AmzmqError,
    CallTimeout,
    InvalidArgs,
    LimitExceeded,
    NoAccess,
    NotConnected,
    OutcomeUnknown,
)
from amzmq.machine import EXCEPTION_ARGS, Event, Machine, MutationType, Result, Source, State
from amzmq.rpc.server import server as module
from amzmq.rpc.server.rights import Rights
from amzmq.wire.control import (
    Mutate,
    NsReport,
    Ping,
    Pong,
    Refusal,
    RefusalCode,
    Reply,
    Sync,
    WatchKind,
)
from amzmq.wire.view import View
from tests.rpc.server.rig import (
    ADD,
    EXCEPTION,
    ME,
    NEVER,
    TRACE,
    A,
    B,
    Desk,
    Keeper,
    Replica,
    Slow,
    level,
    mutate,
    watch,
)
from tests.rpc.virtual_time import in_virtual_time

# Mutations.


@in_virtual_time
@pytest.mark.parametrize(
    ("kind", "active"),
    [(MutationType.ADD, ["A", "B"]), (MutationType.REMOVE, []), (MutationType.SET, ["B"])],
)
async def test_each_kind_of_mutation_is_run(kind: MutationType, active: list[str]) -> None:
    desk = Desk()
    server = desk.server()
    desk.source.add("A")
    desk.feed.flush()
    server.mutate(mutate(5, A if kind == MutationType.REMOVE else B, kind=kind, number=1))
    reply = desk.only(Reply)
    assert (reply.request, reply.result, len(reply.bodies)) == (5, Result.EXECUTED, 1)
    assert sorted(desk.source.active_states()) == active


@in_virtual_time
async def test_arguments_and_the_event_reach_the_machine() -> None:
    desk = Desk()
    server = desk.server()
    seen: list[tuple[dict[str, object], object]] = []

    def note(e: Event) -> None:
        seen.append((dict(e.args), e.mutation.source))

    desk.source.bind({"AState": note, "AEnd": note, "BState": note, "BEnd": note})
    source, args = ["m", "t", 7], {"n": 1}
    server.mutate(mutate(1, A, args=args, source=source))
    server.mutate(mutate(2, B, kind=MutationType.SET, args=args, source=source))
    server.mutate(mutate(3, B, kind=MutationType.REMOVE, args=args, source=source))
    assert seen == [(args, Source("m", "t", 7))] * 4


@in_virtual_time
@pytest.mark.parametrize("source", [[], ["m", "t"], ["m", "t", "7"], ["m", "t", True]])
async def test_an_event_that_is_none_is_refused(source: list[object]) -> None:
    desk = Desk()
    server = desk.server()
    server.mutate(mutate(1, A, source=source))
    refusal = desk.only(Refusal)
    assert refusal.code == RefusalCode.BAD_REQUEST
    assert "[machine id, transition id, time sum] expected" in refusal.reason
    assert desk.source.not_("A")


@in_virtual_time
async def test_an_unknown_kind_of_mutation_is_refused() -> None:
    for rights in (None, Rights()):
        desk = Desk(rights=rights)
        desk.server().mutate(mutate(1, A, kind=9))
        refusal = desk.only(Refusal)
        assert refusal.code == RefusalCode.BAD_REQUEST
        assert "mutation type 9" in refusal.reason


@in_virtual_time
@pytest.mark.parametrize("called", [[-1], [6], [0, 6], [0, -1], [1 << 40]])
async def test_indexes_of_no_state_are_refused(called: list[int]) -> None:
    desk = Desk()
    server = desk.server()
    server.mutate(mutate(1, *called))
    refusal = desk.only(Refusal)
    assert (refusal.code, desk.source.tick("A")) == (RefusalCode.BAD_REQUEST, 0)
    assert "of 6 states" in refusal.reason


@in_virtual_time
async def test_the_first_and_the_last_state_can_be_called_and_so_can_none() -> None:
    desk = Desk()
    server = desk.server()
    server.mutate(mutate(1, A, EXCEPTION))
    assert desk.only(Reply).result == Result.EXECUTED
    assert desk.source.is_("A", "Exception")
    server.mutate(Mutate(2, MutationType.SET, [], None, 1))
    assert desk.only(Reply).result == Result.EXECUTED
    assert desk.source.active_states() == []


@in_virtual_time
async def test_a_view_s_indexes_mean_its_own_states() -> None:
    desk = Desk()
    server = desk.server(View(allowed=frozenset(["B"]), schema=False))
    server.mutate(mutate(1, server.stream.names.index("B")))
    assert desk.only(Reply).result == Result.EXECUTED
    assert desk.source.active_states() == ["B"]


@in_virtual_time
async def test_while_clocks_cannot_be_kept_nothing_is_run() -> None:
    desk = Desk(keeper=Keeper())
    desk.server().mutate(mutate(1, A))
    refusal = desk.only(Refusal)
    assert (refusal.code, desk.source.not_("A")) == (RefusalCode.UNREACHABLE, True)
    assert "the disk is full" in refusal.reason


# Errors that come through a replica.


def error(*details: object, **more: object) -> dict[str, object]:
    return {EXCEPTION_ARGS: list(details), **more}


@in_virtual_time
async def test_an_error_arrives_as_what_is_known_of_it() -> None:
    desk = Desk()
    server = desk.server()
    args: list[dict[str, Any]] = []
    sources: list[object] = []
    desk.source.bind({"ExceptionState": lambda e: args.append(dict(e.args))})
    desk.source.bind({"ExceptionState": lambda e: sources.append(e.mutation.source)})
    details = error("OSError", "no space", TRACE, n=1)
    server.mutate(mutate(1, EXCEPTION, args=details, source=["m", "t", 7]))
    assert desk.only(Reply).result == Result.EXECUTED
    assert str(desk.source.err()) == "OSError: no space"
    assert args[0]["n"] == 1
    assert str(args[0][EXCEPTION_ARGS].err) == "OSError: no space"
    assert args[0][EXCEPTION_ARGS].trace == TRACE
    assert sources[0] == Source("m", "t", 7)
    assert desk.source.is_("Exception", "ErrOnClient")
    assert details == error("OSError", "no space", TRACE, n=1)


@in_virtual_time
async def test_a_replica_hands_an_error_on_as_it_came() -> None:
    source: Any = Replica()
    desk = Desk(source)
    server = desk.server()
    details = error("OSError", "no space", TRACE, n=1)
    server.mutate(mutate(1, EXCEPTION, args=details, source=["m", "t", 7]))
    event = Source("m", "t", 7)
    assert source.passed == [("Exception", "OSError: no space", TRACE, {"n": 1}, event)]
    assert desk.answer() == []
    source.future.set_result(Result.CANCELED)
    await asyncio.sleep(0)
    assert desk.only(Reply).result == Result.CANCELED


@in_virtual_time
async def test_a_machine_without_the_state_for_it_takes_errors_as_well() -> None:
    desk = Desk(Machine({"A": State()}, id="src"))
    server = desk.server()
    server.mutate(mutate(1, 1, args=error("OSError", "no space", "")))
    assert desk.only(Reply).result == Result.EXECUTED
    assert desk.source.active_states() == ["Exception"]


@in_virtual_time
@pytest.mark.parametrize(
    ("called", "details"), [([], ["a", "b", "c"]), ([5], ["a", "b"]), ([5], "abcd"), ([5], None)]
)
async def test_an_error_without_its_details_is_refused(called: list[int], details: object) -> None:
    desk = Desk()
    server = desk.server()
    server.mutate(Mutate(1, ADD, called, {EXCEPTION_ARGS: details}, 0))  # type: ignore[dict-item]
    refusal = desk.only(Refusal)
    assert refusal.code == RefusalCode.BAD_REQUEST
    assert "[type, message, trace] expected" in refusal.reason
    assert desk.source.not_("Exception")


# Once, and no more.


@in_virtual_time
async def test_a_retry_is_answered_from_memory() -> None:
    desk = Desk()
    server = desk.server()
    server.mutate(mutate(1, A))
    server.mutate(mutate(2, NEVER))
    first = desk.answer()
    desk.source.remove("A")
    server.mutate(mutate(1, A))
    server.mutate(mutate(2, NEVER))
    again = desk.answer()
    for replies in (first, again):
        results = [(it.request, it.result) for it in replies if isinstance(it, Reply)]
        assert results == [(1, Result.EXECUTED), (2, Result.CANCELED)]
    assert desk.source.tick("A") == 2


@in_virtual_time
async def test_a_refusal_is_remembered_too() -> None:
    desk = Desk()
    server = desk.server()
    server.mutate(mutate(1, 99))
    server.mutate(mutate(1, A))
    assert [it.code for it in desk.answer() if isinstance(it, Refusal)] == [3, 3]
    assert desk.source.not_("A")


@in_virtual_time
async def test_so_many_results_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPLIES_KEPT", 3)
    desk = Desk()
    server = desk.server()
    for request in (1, 2, 3, 4):
        server.mutate(mutate(request, A))
    assert len(desk.answer()) == 4
    before = desk.source.queue_tick
    for request in (2, 3, 4):
        server.mutate(mutate(request, A))
    assert (len(desk.answer()), desk.source.queue_tick) == (3, before)
    server.mutate(mutate(1, A))
    assert (len(desk.answer()), desk.source.queue_tick) == (1, before + 1)


@in_virtual_time
async def test_a_retry_of_what_is_still_running_waits_for_the_same_result() -> None:
    source = Slow()
    desk = Desk(source)
    server = desk.server()
    server.mutate(mutate(1, A))
    server.mutate(mutate(1, A))
    assert (len(source.futures), desk.answer()) == (1, [])
    source.futures[0].set_result(Result.CANCELED)
    await asyncio.sleep(0)
    reply = desk.only(Reply)
    assert (reply.request, reply.result) == (1, Result.CANCELED)
    server.mutate(mutate(1, A))
    assert desk.only(Reply).result == Result.CANCELED
    assert len(source.futures) == 1


@in_virtual_time
@pytest.mark.parametrize(
    ("outcome", "code", "reason"),
    [
        (None, RefusalCode.OUTCOME_UNKNOWN, "the relay gave up waiting"),
        (NoAccess("not you"), RefusalCode.NO_ACCESS, "not you"),
        (LimitExceeded("too much"), RefusalCode.LIMIT, "too much"),
        (NotConnected("away"), RefusalCode.UNREACHABLE, "away"),
        (OutcomeUnknown("restarted"), RefusalCode.OUTCOME_UNKNOWN, "restarted"),
        (CallTimeout("no reply"), RefusalCode.OUTCOME_UNKNOWN, "no reply"),
        (InvalidArgs("wrong"), RefusalCode.BAD_REQUEST, "wrong"),
        (ValueError(), RefusalCode.BAD_REQUEST, "ValueError"),
    ],
)
async def test_what_a_replica_s_own_source_says_is_passed_on(
    outcome: AmzmqError | ValueError | None, code: RefusalCode, reason: str
) -> None:
    source = Slow()
    desk = Desk(source)
    server = desk.server()
    server.mutate(mutate(1, A))
    if outcome is None:
        source.futures[0].cancel()
    else:
        source.futures[0].set_exception(outcome)
    await asyncio.sleep(0)
    refusal = desk.only(Refusal)
    assert (refusal.request, refusal.code) == (1, code)
    assert reason in refusal.reason
    assert desk.guard.denied == (code == RefusalCode.NO_ACCESS)


# What a reply carries.


@in_virtual_time
async def test_a_reply_carries_what_its_caller_has_not_seen() -> None:
    desk = Desk()
    server = desk.server()
    desk.source.add("B")
    desk.feed.flush()
    server.mutate(mutate(1, A, number=0))
    reply = desk.only(Reply)
    assert (reply.bodies, reply.head) == (server.stream.since(0), 0)
    desk.source.remove("B")
    desk.feed.flush()
    server.mutate(mutate(2, B, number=1))
    reply = desk.only(Reply)
    assert (reply.bodies, reply.head) == (server.stream.since(2), 0)
    assert len(reply.bodies) == 2


@in_virtual_time
async def test_what_an_earlier_reply_has_carried_is_only_named() -> None:
    desk = Desk()
    server = desk.server()
    server.mutate(mutate(1, A, number=0))
    server.mutate(mutate(2, A, number=0))
    first, second = desk.answer()
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert (len(first.bodies), first.head) == (1, 0)
    assert (second.bodies, second.head) == ([], 1)
    server.mutate(mutate(2, A, number=1))
    reply = desk.only(Reply)
    assert (reply.bodies, reply.head) == ([], 0)


@in_virtual_time
@pytest.mark.parametrize(("most", "carried"), [(2, 0), (3, 3)])
async def test_more_than_so_many_updates_come_by_the_stream(
    monkeypatch: pytest.MonkeyPatch, most: int, carried: int
) -> None:
    monkeypatch.setattr(module, "REPLY_BODIES", most)
    desk = Desk()
    server = desk.server()
    for _ in range(2):
        desk.source.toggle("B")
        desk.feed.flush()
    server.mutate(mutate(1, A))
    reply = desk.only(Reply)
    assert (len(reply.bodies), reply.head) == (carried, 0 if carried else 3)


@in_virtual_time
@pytest.mark.parametrize(("room", "updates", "carried"), [(-1, 1, 1), (-1, 2, 0), (0, 2, 2)])
async def test_more_than_so_many_bytes_come_by_the_stream_if_they_are_several(
    monkeypatch: pytest.MonkeyPatch, room: int, updates: int, carried: int
) -> None:
    desk = Desk()
    server = desk.server()
    for _ in range(updates - 1):
        desk.source.toggle("B")
        desk.feed.flush()
    server.mutate(mutate(1, A))
    desk.feed.flush()
    size = sum(map(len, server.stream.since(0) or []))
    monkeypatch.setattr(module, "REPLY_BYTES", size + room)
    assert len(desk.only(Reply).bodies) == carried


# Mutations without a reply.


@in_virtual_time
async def test_mutations_without_a_reply_are_reported_in_sum_and_once() -> None:
    desk = Desk()
    server = desk.server()
    for called in (A, NEVER, A, 99, NEVER):
        server.mutate(mutate(0, called))
    assert desk.answer() == []
    server.ping(Ping(0))
    report, pong = desk.answer()
    assert isinstance(report, NsReport)
    assert (report.received, report.canceled, report.refused) == (5, 2, 1)
    assert "[99] of 6 states" in report.reason
    assert isinstance(pong, Pong)
    server.ping(Ping(0))
    assert desk.only(Pong) == Pong(server.stream.head)
    server.mutate(mutate(0, B))
    server.sync(Sync(1, b"", 0))
    again, _ = desk.answer()
    assert again == NsReport(6, 2, 1, report.reason)


@in_virtual_time
async def test_what_may_not_be_done_without_a_reply_is_counted_as_denied() -> None:
    desk = Desk(rights=Rights())
    server = desk.server()
    for called in (A, 99, B):
        server.mutate(mutate(0, called))
    assert (desk.guard.denied, desk.source.not_("A", "B")) == (2, True)


@in_virtual_time
async def test_mutations_without_a_reply_are_never_taken_for_a_retry() -> None:
    desk = Desk()
    server = desk.server()
    server.mutate(mutate(0, A))
    server.mutate(mutate(0, B))
    assert desk.source.is_("A", "B")


# Rights.


@in_virtual_time
async def test_a_mutation_that_is_not_allowed_is_refused_by_name_and_counted() -> None:
    desk = Desk(rights=Rights(mutate=("B",), kinds=frozenset([MutationType.ADD])))
    server = desk.server()
    server.mutate(mutate(1, A))
    refusal = desk.only(Refusal)
    assert refusal == Refusal(1, RefusalCode.NO_ACCESS, "ann may not add A of src")
    server.mutate(mutate(2, B))
    assert desk.only(Reply).result == Result.EXECUTED
    server.mutate(mutate(3, B, kind=MutationType.REMOVE))
    assert desk.only(Refusal).reason == "ann may not remove B of src"
    server.mutate(mutate(4, B, kind=MutationType.SET))
    assert desk.only(Refusal).reason == "ann may not set B of src"
    assert desk.guard.denied == 3


@in_virtual_time
async def test_a_wait_for_what_may_not_be_read_is_refused_by_name_and_counted() -> None:
    desk = Desk(rights=Rights(read=("B",)))
    server = desk.server()
    level(desk, server)
    server.watch(watch(1, A))
    assert desk.only(Refusal).reason == "ann may not wait for A of src"
    server.watch(watch(2, B))
    server.watch(watch(3, kind=WatchKind.QUEUE_ENDS))
    assert desk.answer() == []
    assert (desk.guard.denied, len(server.watches)) == (1, 2)
    desk.rights = Rights(read=())
    nothing = desk.server()
    nothing.watch(watch(4, kind=WatchKind.QUEUE_ENDS))
    assert desk.only(Refusal).reason == "ann may not wait for the queue of src"


@in_virtual_time
async def test_a_client_without_a_user_is_named_by_its_id() -> None:
    desk = Desk(rights=Rights(read=()))
    server = desk.server()
    server.client = ME._replace(user="")
    server.mutate(mutate(1, A))
    assert desk.only(Refusal).reason == "rc-me may not add A of src"
    server.watch(watch(2, A))
    assert desk.only(Refusal).reason == "rc-me may not wait for A of src"
