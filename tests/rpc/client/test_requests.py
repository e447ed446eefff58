"""Requests by themselves: when they are sent again, what ends them, and what is told of them."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from amzmq.errors import (
    CallTimeout,
    InvalidArgs,
    LimitExceeded,
    NoAccess,
    NotConnected,
    OutcomeUnknown,
    Refused,
    RpcError,
    SchemaMismatch,
)
from amzmq.machine import MutationType, Result, Source
from amzmq.rpc.client.calls import Calls
from amzmq.rpc.retry import RetryPolicy
from amzmq.wire.control import Mutate, RefusalCode
from tests.rpc.virtual_time import in_virtual_time

ADD = MutationType.ADD
HERE, ELSEWHERE = b"epoch-01", b"epoch-02"
EXACT = RetryPolicy(retries=2, delay=1.0, backoff=0.0, timeout=0.0, jitter=0.0)
TIMEOUT = 10.0
"""Seconds until a reply is overdue."""


class Sent:
    """What a source was sent, when, and what the client was told meanwhile."""

    def __init__(self, policy: RetryPolicy = EXACT) -> None:
        self.number = 0
        self.all: list[Mutate] = []
        self.times: list[float] = []
        self.retrying: list[bool] = []
        self.failed: list[CallTimeout] = []
        self.left: list[int] = []
        self.calls = Calls(
            self._send, lambda: self.number, policy, TIMEOUT, self.retrying.append, self._failed
        )

    def _send(self, message: Mutate) -> bool:
        self.all.append(message)
        self.times.append(asyncio.get_running_loop().time())
        return True

    def _failed(self, error: CallTimeout) -> None:
        self.failed.append(error)
        self.left.append(len(self.calls))

    def begin(self, *called: int, epoch: bytes = HERE) -> asyncio.Future[Result]:
        return self.calls.begin(ADD, called or (0,), {}, None, epoch)

    def keep(self, *called: int) -> asyncio.Future[Result]:
        return self.calls.keep(ADD, called or (0,), {}, None)

    @property
    def requests(self) -> list[int]:
        return [message.request for message in self.all]


class WithSource:
    """What has a source to be traced back to."""

    def source(self) -> Source:
        return Source("m", "t", 7)


# Sending.


@in_virtual_time
async def test_a_request_says_all_that_the_source_needs() -> None:
    sent = Sent()
    sent.number = 4
    future = sent.calls.begin(MutationType.SET, (2, 1), {"n": 1}, WithSource(), HERE)  # type: ignore[arg-type]
    sent.begin(3)
    assert sent.all == [
        Mutate(1, MutationType.SET, [2, 1], {"n": 1}, 4, ["m", "t", 7]),
        Mutate(2, ADD, [3], None, 4, None),
    ]
    assert (len(sent.calls), sent.calls.sent, sent.calls.retried) == (2, 2, 0)
    assert not future.done()


@in_virtual_time
async def test_a_reply_ends_the_call_it_answers() -> None:
    sent = Sent()
    first, second = sent.begin(), sent.begin()
    assert not sent.calls.replied(2, 1, 0)
    assert (first.done(), await second) == (False, Result.CANCELED)
    assert len(sent.calls) == 1
    assert not sent.calls.replied(2, 0, 0)
    assert not sent.calls.replied(99, 0, 5)
    assert not sent.calls.applied(99)
    await asyncio.sleep(5)
    assert sent.requests == [1, 2]


@in_virtual_time
async def test_a_reply_that_is_ahead_waits_for_the_stream() -> None:
    sent = Sent()
    futures = [sent.begin() for _ in range(3)]
    sent.number = 3
    assert sent.calls.replied(1, 0, 5)
    assert sent.calls.replied(2, 1, 4)
    assert not sent.calls.replied(3, 0, 3)
    assert [future.done() for future in futures] == [False, False, True]
    assert len(sent.calls) == 2
    assert sent.calls.applied(4)
    assert [future.done() for future in futures] == [False, True, True]
    assert await futures[1] == Result.CANCELED
    assert not sent.calls.applied(5)
    assert await futures[0] == Result.EXECUTED
    assert len(sent.calls) == 0


@in_virtual_time
async def test_who_gave_up_is_not_answered() -> None:
    sent = Sent()
    gone, held, refused, last = (sent.begin() for _ in range(4))
    gone.cancel()
    assert not sent.calls.replied(1, 0, 5)
    assert sent.calls.replied(2, 0, 5)
    held.cancel()
    assert not sent.calls.applied(5)
    refused.cancel()
    sent.calls.refused(3, RefusalCode.NO_ACCESS, "no")
    last.cancel()
    sent.calls.end(NotConnected("away"))
    assert all(future.cancelled() for future in (gone, held, refused, last))


@in_virtual_time
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (RefusalCode.NO_ACCESS, NoAccess),
        (RefusalCode.SCHEMA, SchemaMismatch),
        (RefusalCode.LIMIT, LimitExceeded),
        (RefusalCode.UNREACHABLE, NotConnected),
        (RefusalCode.OUTCOME_UNKNOWN, OutcomeUnknown),
        (RefusalCode.BAD_REQUEST, Refused),
        (999, Refused),
    ],
)
async def test_a_refusal_is_the_error_of_its_code(code: int, kind: type[RpcError]) -> None:
    sent = Sent()
    future, other = sent.begin(), sent.begin()
    sent.calls.refused(1, code, "the reason")
    with pytest.raises(kind, match="the reason") as raised:
        await future
    assert type(raised.value) is kind
    assert (other.done(), len(sent.calls)) == (False, 1)
    sent.calls.refused(1, code, "once more")
    sent.calls.refused(77, code, "of nothing")


# Retries.


@in_virtual_time
async def test_a_request_without_a_reply_is_sent_again_under_its_number() -> None:
    sent = Sent()
    future = sent.begin(4)
    sent.number = 2
    await asyncio.sleep(TIMEOUT)
    assert (sent.retrying, sent.requests) == ([True], [1])
    await asyncio.sleep(25)
    assert (sent.requests, sent.times) == ([1, 1, 1], [0, 11, 22])
    assert [message.number for message in sent.all] == [0, 2, 2]
    assert [message.called for message in sent.all] == [[4]] * 3
    assert (sent.calls.sent, sent.calls.retried) == (3, 2)
    assert isinstance(future.exception(), CallTimeout)
    assert "no reply after 3 tries in 32.0 s; it may have run" in str(future.exception())
    assert (sent.failed, sent.left) == ([future.exception()], [0])
    assert (sent.retrying, len(sent.calls)) == ([True, False], 0)


@in_virtual_time
async def test_a_request_that_is_answered_at_last_is_tried_again_no_more() -> None:
    sent = Sent()
    future = sent.begin()
    await asyncio.sleep(12)
    assert not sent.calls.replied(1, 0, 0)
    assert await future == Result.EXECUTED
    assert sent.retrying == [True, False]
    await asyncio.sleep(100)
    assert (sent.times, sent.failed, sent.retrying) == ([0, 11], [], [True, False])


@in_virtual_time
@pytest.mark.parametrize(("limit", "tries"), [(9.0, 1), (10.0, 2), (21.0, 3), (0.0, 6)])
async def test_no_try_begins_after_the_time_for_them(limit: float, tries: int) -> None:
    sent = Sent(RetryPolicy(retries=5, delay=1.0, backoff=0.0, timeout=limit, jitter=0.0))
    await asyncio.sleep(5)
    future = sent.begin()
    await asyncio.sleep(200)
    assert (len(sent.all), isinstance(future.exception(), CallTimeout)) == (tries, True)


@in_virtual_time
async def test_delays_are_those_of_the_policy() -> None:
    sent = Sent(RetryPolicy(retries=3, delay=1.0, backoff=3.0, timeout=0.0, jitter=0.0))
    future = sent.begin()
    await asyncio.sleep(100)
    assert sent.times == [0, 11, 23, 36]
    assert future.exception()


@in_virtual_time
async def test_many_calls_each_have_a_time_of_their_own() -> None:
    sent = Sent()
    futures = [sent.begin(1)]
    await asyncio.sleep(4)
    futures.append(sent.begin(2))
    await asyncio.sleep(8)
    assert (sent.requests, sent.retrying) == ([1, 2, 1], [True])
    await asyncio.sleep(4)
    assert (sent.requests, sent.times) == ([1, 2, 1, 2], [0, 4, 11, 15])
    assert sent.retrying == [True]
    sent.calls.refused(1, RefusalCode.BAD_REQUEST, "no")
    assert sent.retrying == [True]
    sent.calls.replied(2, 0, 0)
    assert sent.retrying == [True, False]
    assert [type(future.exception()) for future in futures] == [Refused, type(None)]
    await asyncio.sleep(100)
    assert len(sent.all) == 4


@in_virtual_time
async def test_a_call_that_begins_when_all_are_over_is_looked_after_too() -> None:
    sent = Sent()
    sent.begin()
    sent.calls.replied(1, 0, 0)
    await asyncio.sleep(20)
    sent.begin()
    await asyncio.sleep(12)
    assert sent.times == [0, 20, 31]
    sent.calls.end(NotConnected("enough"))


@in_virtual_time
async def test_whoever_gave_up_is_forgotten_when_the_reply_is_overdue() -> None:
    sent = Sent()
    future, other = sent.begin(), sent.begin()
    await asyncio.sleep(11.5)
    assert (sent.retrying, len(sent.all)) == ([True], 4)
    future.cancel()
    sent.calls.replied(2, 0, 0)
    assert other.done()
    await asyncio.sleep(10)
    assert (len(sent.calls), len(sent.all), sent.retrying) == (0, 4, [True, False])
    assert sent.failed == []


# Another connection.


@in_virtual_time
async def test_a_source_that_remembers_is_asked_again() -> None:
    sent = Sent()
    future = sent.begin()
    answered = sent.begin()
    sent.calls.replied(2, 0, 0)
    sent.calls.connected(HERE, remembered=True)
    assert (sent.requests, sent.calls.retried, future.done()) == ([1, 2, 1], 1, False)
    assert answered.done()


@in_virtual_time
@pytest.mark.parametrize(("epoch", "remembered"), [(ELSEWHERE, True), (HERE, False)])
async def test_a_source_that_does_not_leaves_the_outcome_unknown(
    epoch: bytes, remembered: bool
) -> None:
    sent = Sent()
    futures = [sent.begin(4), sent.begin(5)]
    gone = sent.begin()
    await asyncio.sleep(10.5)
    gone.cancel()
    assert sent.retrying == [True]
    sent.calls.connected(epoch, remembered)
    for future in futures:
        with pytest.raises(OutcomeUnknown, match=r"states \[[45]\]: the source was restarted"):
            await future
    assert (len(sent.calls), sent.calls.retried, sent.retrying) == (0, 0, [True, False])
    assert len(sent.all) == 3


@in_virtual_time
async def test_what_has_run_is_over_with_the_snapshot_of_the_next_connection() -> None:
    sent = Sent()
    held, gone = sent.begin(), sent.begin()
    assert sent.calls.replied(1, 1, 9)
    assert sent.calls.replied(2, 0, 9)
    gone.cancel()
    sent.calls.connected(HERE, remembered=True)
    assert (await held, gone.cancelled(), len(sent.calls)) == (Result.CANCELED, True, 0)
    assert sent.requests == [1, 2]


# Without a connection.


@in_virtual_time
async def test_what_is_kept_is_sent_in_order_once_there_is_a_connection() -> None:
    sent = Sent()
    first, gone, last = sent.keep(1), sent.keep(2), sent.keep(3)
    assert (sent.all, len(sent.calls), sent.calls.offline) == ([], 3, 3)
    await asyncio.sleep(100)
    gone.cancel()
    sent.calls.connected(HERE, remembered=False)
    assert [(it.request, it.called) for it in sent.all] == [(1, [1]), (3, [3])]
    assert (len(sent.calls), sent.calls.offline, sent.calls.retried) == (2, 0, 0)
    assert not any(future.done() for future in (first, last))
    await asyncio.sleep(9)
    assert (len(sent.all), sent.retrying) == (2, [])
    sent.calls.connected(HERE, remembered=True)
    assert sent.requests == [1, 3, 1, 3]
    sent.calls.replied(1, 0, 0)
    await asyncio.sleep(3)
    assert (sent.requests, sent.times[-1]) == ([1, 3, 1, 3, 3], 111)
    sent.calls.replied(3, 0, 0)
    assert first.done()
    assert last.done()


@in_virtual_time
async def test_what_is_kept_begins_behind_what_was_sent() -> None:
    sent = Sent()
    sent.begin(1)
    sent.keep(2)
    assert (len(sent.calls), sent.calls.offline) == (2, 1)
    sent.calls.connected(HERE, remembered=True)
    sent.begin(3)
    assert [(it.request, it.called) for it in sent.all] == [(1, [1]), (1, [1]), (2, [2]), (3, [3])]


@in_virtual_time
async def test_the_reply_to_what_was_kept_is_overdue_some_time_after_it_was_sent() -> None:
    sent = Sent()
    sent.begin(1)
    sent.keep(2)
    await asyncio.sleep(8)
    sent.calls.connected(HERE, remembered=True)
    await asyncio.sleep(11.5)
    assert (sent.requests, sent.times) == ([1, 1, 2, 1, 2], [0, 8, 8, 11, 19])
    sent.calls.end(NotConnected("enough"))


@in_virtual_time
async def test_what_cannot_be_sent_is_refused_when_it_is_to_be_kept() -> None:
    sent = Sent()
    with pytest.raises(InvalidArgs):
        sent.calls.keep(ADD, (0,), {"n": object()}, None)
    assert (len(sent.calls), sent.calls.offline) == (0, 0)


@in_virtual_time
async def test_a_schema_that_is_another_one_renumbers_what_is_not_answered() -> None:
    sent = Sent()
    sent.begin(0, 1)
    sent.keep(1)
    sent.calls.renumber({0: 5, 1: 6})
    sent.calls.connected(HERE, remembered=True)
    assert [message.called for message in sent.all] == [[0, 1], [5, 6], [6]]


# The end.


@in_virtual_time
async def test_the_end_is_told_to_all_that_are_waiting() -> None:
    sent = Sent()
    tried, held = sent.begin(), sent.begin()
    await asyncio.sleep(10.5)
    kept, gone = sent.keep(4), sent.keep()
    assert sent.calls.replied(2, 0, 9)
    gone.cancel()
    error = NotConnected("the client has stopped")
    sent.calls.end(error)
    assert (tried.exception(), held.exception()) == (error, error)
    with pytest.raises(NotConnected, match=r"add of states \[4\]: never sent; the client has"):
        await kept
    assert (len(sent.calls), sent.calls.offline, sent.retrying) == (0, 0, [True, False])
    await asyncio.sleep(100)
    assert (len(sent.all), sent.failed) == (2, [])


@in_virtual_time
async def test_an_end_without_a_retry_tells_of_none() -> None:
    sent = Sent()
    future = sent.begin()
    sent.calls.end(NotConnected("away"))
    assert (sent.retrying, type(future.exception())) == ([], NotConnected)


@in_virtual_time
async def test_calls_that_begin_after_the_end_are_looked_after_as_before() -> None:
    sent = Sent()
    sent.begin()
    await asyncio.sleep(10.5)
    sent.calls.end(NotConnected("away"))
    again = sent.begin()
    await asyncio.sleep(12)
    assert (sent.times, sent.retrying) == ([0, 10.5, 21.5], [True, False, True])
    sent.calls.replied(2, 0, 0)
    assert (again.done(), sent.retrying) == (True, [True, False, True, False])


@in_virtual_time
async def test_after_the_end_no_timer_holds_anything() -> None:
    sent = Sent()
    sent.begin()
    sent.keep()
    sent.calls.connected(HERE, remembered=True)
    sent.calls.end(NotConnected("away"))
    calls = weakref.ref(sent.calls)
    del sent
    gc.collect()
    assert calls() is None
