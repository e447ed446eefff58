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
    delays: Iterator[float]
    started: float
    timer: asyncio.TimerHandle | None = None
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
            self._policy.delays(self._rng),
            self._loop.time(),
        )
        self._transmit(request, call)  # what cannot travel raises here, and leaves nothing behind
        self._calls[request] = call
        call.timer = self._loop.call_later(self._timeout, self._overdue, request)
        return call.future

    def replied(self, request: int, result: int, head: int) -> bool:
        """A reply came; whether it has to wait until the replica has applied `head`."""
        call = self._forget(request)
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
        call = self._forget(request)
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
                self._forget(request)
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
        for call in calls.values():
            if call.timer is not None:
                call.timer.cancel()
        for future in futures:
            if not future.done():
                future.set_exception(error)

    def _transmit(self, request: int, call: _Call) -> bool:
        self.sent += 1
        number = self._number()
        message = Mutate(request, call.kind, call.called, call.args, number, call.source)
        return self._send(message)

    def _overdue(self, request: int) -> None:
        """No reply yet: wait for the policy's delay and send it again, or give up."""
        call = self._calls.get(request)
        if call is None:
            return
        if call.future.done():  # whoever waited gave up; the mutation may have run
            self._forget(request)
            return
        delay = next(call.delays, None)
        elapsed = self._loop.time() - call.started
        if delay is None or (self._policy.timeout and elapsed > self._policy.timeout):
            self._forget(request)
            if not call.future.done():
                call.future.set_exception(
                    CallTimeout(
                        f"{call.kind} of states {call.called}: no reply after {call.tries} tries "
                        f"in {elapsed:.1f} s; it may have run"
                    )
                )
            return
        call.timer = self._loop.call_later(delay, self._again, request)

    def _again(self, request: int) -> None:
        call = self._calls.get(request)
        if call is None:
            return
        call.tries += 1
        self.retried += 1
        self._transmit(request, call)
        call.timer = self._loop.call_later(self._timeout, self._overdue, request)

    def _forget(self, request: int) -> _Call | None:
        call = self._calls.pop(request, None)
        if call is not None and call.timer is not None:
            call.timer.cancel()
        return call
