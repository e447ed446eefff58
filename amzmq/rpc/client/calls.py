"""Calls in flight: requests, their retries, and what ends them (spec rpc 6, design 8 and 9).

Rules: a request keeps its number through all retries, so the source runs it once. A call ends
when the reply is here *and* the replica has applied the stream as far as the reply says.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from amzmq.errors import (
    CallTimeout,
    LimitExceeded,
    NoAccess,
    NotConnected,
    OutcomeUnknown,
    Refused,
    RpcError,
    SchemaMismatch,
)
from amzmq.machine import MutationType, Result
from amzmq.machine.event import HasSource
from amzmq.rpc.retry import RetryPolicy
from amzmq.wire.codec import encode
from amzmq.wire.control import Mutate, RefusalCode


@dataclass(slots=True)
class _Call:
    future: asyncio.Future[Result]
    kind: MutationType
    called: list[int]
    args: dict[str, object] | None
    source: list[object] | None
    epoch: bytes
    started: float
    due: float
    """When to look at it again: the reply is overdue then, or the wait before a retry over."""
    delays: Iterator[float] | None = None
    retrying: bool = False
    tries: int = 1


@dataclass(order=True, slots=True)
class _Held:
    number: int
    request: int
    future: asyncio.Future[Result] = field(compare=False)
    result: Result = field(compare=False)


class Calls:
    """The requests of one client.

    Args:
        send: Sends a request; False when there is no connection.
        number: The newest message that the replica has applied.
        policy: When to try again.
        timeout: Seconds to wait for a reply before that.
        retrying: Told when the first call is tried again, and when no call is any more.
        failed: Told of each call that is given up.

    Attributes:
        sent: Requests sent, retries included.
        retried: Requests sent again.
    """

    def __init__(
        self,
        send: Callable[[Mutate], bool],
        number: Callable[[], int],
        policy: RetryPolicy,
        timeout: float,
        retrying: Callable[[bool], None] = lambda on: None,
        failed: Callable[[CallTimeout], None] = lambda error: None,
    ) -> None:
        self.sent = 0
        self.retried = 0
        self._send = send
        self._number = number
        self._policy = policy
        self._timeout = timeout
        self._tell_retrying = retrying
        self._tell_failed = failed
        self._tried_again: set[int] = set()
        self._offline: dict[int, _Call] = {}
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random()  # nosec B311  # only spreads waits
        self._last = 0
        self._calls: dict[int, _Call] = {}
        self._held: list[_Held] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._calls) + len(self._held) + len(self._offline)

    @property
    def offline(self) -> int:
        """How many mutations wait for a connection."""
        return len(self._offline)

    def keep(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> asyncio.Future[Result]:
        """Keep a mutation until there is a connection, in the order of the calls.

        Raises:
            InvalidArgs: An argument has no form on the wire.
        """
        self._last += 1
        call = self._made(kind, called, args, event, b"")
        encode(call.args)
        self._offline[self._last] = call
        return call.future

    def _made(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
        epoch: bytes,
    ) -> _Call:
        now = self._loop.time()
        return _Call(
            self._loop.create_future(),
            kind,
            list(called),
            dict(args) if args else None,
            None if event is None else list(event.source()),
            epoch,
            now,
            now + self._timeout,
        )

    def begin(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
        epoch: bytes,
    ) -> asyncio.Future[Result]:
        """Send a mutation; the connection is there."""
        self._last += 1
        request = self._last
        call = self._made(kind, called, args, event, epoch)
        self._transmit(request, call)  # what cannot travel raises here, and leaves nothing behind
        self._calls[request] = call
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look)
        return call.future

    def replied(self, request: int, result: int, head: int) -> bool:
        """A reply came; whether it has to wait until the replica has applied `head`."""
        call = self._calls.pop(request, None)
        if self._tried_again:
            self._settle(request)
        if call is None or call.future.done():
            return False
        if head <= self._number():
            call.future.set_result(Result(result))
            return False
        heapq.heappush(self._held, _Held(head, request, call.future, Result(result)))
        return True

    def applied(self, number: int) -> bool:
        """The replica has applied the stream up to `number`; whether calls still wait."""
        while self._held and self._held[0].number <= number:
            held = heapq.heappop(self._held)
            if not held.future.done():
                held.future.set_result(held.result)
        return bool(self._held)

    def refused(self, request: int, code: int, reason: str) -> None:
        """The source refuses a request for good."""
        call = self._calls.pop(request, None)
        self._settle(request)
        if call is not None and not call.future.done():
            call.future.set_exception(refusal(code, reason))

    def _settle(self, request: int) -> None:
        """A call that was tried again has ended, one way or the other."""
        if request in self._tried_again:
            self._tried_again.discard(request)
            if not self._tried_again:
                self._tell_retrying(False)

    def connected(self, epoch: bytes, remembered: bool) -> None:
        """A conversation begins: what is unanswered is sent again, or its fate is unknown.

        Args:
            epoch: Of the source.
            remembered: Whether it still knows which of our requests it has answered.
        """
        for request, call in list(self._calls.items()):
            if call.epoch == epoch and remembered:
                self._transmit(request, call)
                self.retried += 1
            else:
                del self._calls[request]
                self._settle(request)
                if not call.future.done():
                    call.future.set_exception(
                        OutcomeUnknown(
                            f"{call.kind} of states {call.called}: the source was restarted, "
                            "or has forgotten this client, before it replied; look at the "
                            "states before trying again"
                        )
                    )
        self._held, held = [], self._held
        self._send_offline(epoch)
        for item in held:  # the mutation has run; the snapshot just applied shows what became
            if not item.future.done():
                item.future.set_result(item.result)

    def renumber(self, new: Mapping[int, int]) -> None:
        """The schema has changed; `new` gives each old state index its new one."""
        for call in (*self._calls.values(), *self._offline.values()):
            call.called = [new[state] for state in call.called]

    def _send_offline(self, epoch: bytes) -> None:
        offline, self._offline = self._offline, {}
        for request, call in offline.items():
            if not call.future.done():  # nobody has given it up meanwhile
                call.epoch = epoch
                call.due = self._loop.time() + self._timeout
                self._calls[request] = call
                self._transmit(request, call)
        if self._calls and self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look)

    def end(self, error: RpcError) -> None:
        """No replies will come any more."""
        offline, self._offline = self._offline, {}
        for call in offline.values():
            if not call.future.done():
                call.future.set_exception(
                    NotConnected(f"{call.kind} of states {call.called}: never sent; {error}")
                )
        if self._tried_again:
            self._tried_again.clear()
            self._tell_retrying(False)
        calls, self._calls = self._calls, {}
        futures = [call.future for call in calls.values()] + [held.future for held in self._held]
        self._held = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for future in futures:
            if not future.done():
                future.set_exception(error)

    def _transmit(self, request: int, call: _Call) -> bool:
        self.sent += 1
        number = self._number()
        message = Mutate(request, call.kind, call.called, call.args, number, call.source)
        return self._send(message)

    def _look(self) -> None:
        """Look after the calls that are due; one timer serves them all."""
        now = self._loop.time()
        for request, call in [item for item in self._calls.items() if item[1].due <= now]:
            if call.future.done():  # whoever waited gave up; the mutation may have run
                del self._calls[request]
                self._settle(request)
            elif call.retrying:
                self._again(request, call, now)
            else:
                self._overdue(request, call, now)
        self._timer = None
        if self._calls:
            due = min(call.due for call in self._calls.values())
            self._timer = self._loop.call_at(due, self._look)

    def _overdue(self, request: int, call: _Call, now: float) -> None:
        """No reply yet: wait for the policy's delay and send it again, or give up."""
        if call.delays is None:
            call.delays = self._policy.delays(self._rng)
        delay = next(call.delays, None)
        elapsed = now - call.started
        if delay is None or (self._policy.timeout and elapsed > self._policy.timeout):
            del self._calls[request]
            error = CallTimeout(
                f"{call.kind} of states {call.called}: no reply after {call.tries} tries "
                f"in {elapsed:.1f} s; it may have run"
            )
            call.future.set_exception(error)
            self._settle(request)
            self._tell_failed(error)
            return
        call.retrying = True
        if not self._tried_again:
            self._tell_retrying(True)
        self._tried_again.add(request)
        call.due = now + delay

    def _again(self, request: int, call: _Call, now: float) -> None:
        call.tries += 1
        self.retried += 1
        call.retrying = False
        call.due = now + self._timeout
        self._transmit(request, call)


_ERRORS: dict[int, type[RpcError]] = {
    RefusalCode.NO_ACCESS: NoAccess,
    RefusalCode.SCHEMA: SchemaMismatch,
    RefusalCode.LIMIT: LimitExceeded,
    RefusalCode.UNREACHABLE: NotConnected,
    RefusalCode.OUTCOME_UNKNOWN: OutcomeUnknown,
}


def refusal(code: int, reason: str) -> RpcError:
    """The error of a `Refusal`."""
    return _ERRORS.get(code, Refused)(reason)
