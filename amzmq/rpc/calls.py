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

from amzmq.errors import CallTimeout, OutcomeUnknown, Refused
from amzmq.machine import MutationType, Result
from amzmq.machine.event import HasSource
from amzmq.rpc.retry import RetryPolicy
from amzmq.wire.control import Mutate


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
    ) -> None:
        self.sent = 0
        self.retried = 0
        self._send = send
        self._number = number
        self._policy = policy
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random()
        self._last = 0
        self._calls: dict[int, _Call] = {}
        self._held: list[_Held] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._calls) + len(self._held)

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
        call = _Call(
            self._loop.create_future(),
            kind,
            list(called),
            dict(args) if args else None,
            None if event is None else list(event.source()),
            epoch,
            now := self._loop.time(),
            now + self._timeout,
        )
        self._transmit(request, call)  # what cannot travel raises here, and leaves nothing behind
        self._calls[request] = call
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look)
        return call.future

    def replied(self, request: int, result: int, head: int) -> bool:
        """A reply came; whether it has to wait until the replica has applied `head`."""
        call = self._calls.pop(request, None)
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

    def refused(self, request: int, reason: str) -> None:
        """The source refuses a request for good."""
        call = self._calls.pop(request, None)
        if call is not None and not call.future.done():
            call.future.set_exception(Refused(reason))

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
                if not call.future.done():
                    call.future.set_exception(
                        OutcomeUnknown(
                            f"{call.kind} of states {call.called}: the source was restarted, "
                            "or has forgotten this client, before it replied; look at the "
                            "states before trying again"
                        )
                    )
        self._held, held = [], self._held
        for item in held:  # the mutation has run; the snapshot just applied shows what became
            if not item.future.done():
                item.future.set_result(item.result)

    def end(self, error: Exception) -> None:
        """No replies will come any more."""
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
            call.future.set_exception(
                CallTimeout(
                    f"{call.kind} of states {call.called}: no reply after {call.tries} tries "
                    f"in {elapsed:.1f} s; it may have run"
                )
            )
            return
        call.retrying = True
        call.due = now + delay

    def _again(self, request: int, call: _Call, now: float) -> None:
        call.tries += 1
        self.retried += 1
        call.retrying = False
        call.due = now + self._timeout
        self._transmit(request, call)
