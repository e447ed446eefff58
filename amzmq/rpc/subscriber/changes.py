"""What changed on followed machines, for taps: each change, or the newest of many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from amzmq.machine import ClockObserver
from amzmq.machine.tracer import Tracer
from amzmq.rpc.backlog import Backlog
from amzmq.rpc.replica.event import ReplicaTransition
from amzmq.rpc.replica.netmach import NetworkMachine

_log = logging.getLogger("amzmq.client")


@dataclass(frozen=True, slots=True)
class Change:
    """A followed machine has ticked.

    Attributes:
        machine: The replica; it may be further by now.
        activated: Names of the states that became active.
        deactivated: Of those that became inactive. Both are empty if states only ticked.
    """

    machine: NetworkMachine
    activated: tuple[str, ...]
    deactivated: tuple[str, ...]

    def followed_by(self, later: Change) -> Change:
        """This change and a later one of the same machine as one."""
        on, off = dict.fromkeys(self.activated), dict.fromkeys(self.deactivated)
        for name in later.activated:
            if name in off:
                del off[name]
            else:
                on[name] = None
        for name in later.deactivated:
            if name in on:
                del on[name]
            else:
                off[name] = None
        return Change(self.machine, tuple(on), tuple(off))


ChangeFn: TypeAlias = Callable[[Change], None]


class EachChange(Tracer):
    """Tells of every update of a replica, when it is applied.

    Args:
        replica: The replica.
        tell: Gets the changes.
    """

    id = "subscriber-changes"

    def __init__(self, replica: NetworkMachine, tell: ChangeFn) -> None:
        self._replica = replica
        self._tell = tell
        replica.bind_tracer(self)

    def transition_end(self, tx: ReplicaTransition) -> None:  # type: ignore[override]
        """An update was applied."""
        if tx.time_before != tx.time_after:
            self._tell(Change(self._replica, tuple(tx.activated), tuple(tx.deactivated)))

    def end(self) -> None:
        """Tell nothing more."""
        self._replica.detach_tracer(self.id)


class NewestChange:
    """Tells what changed since it last did, at most once an interval.

    Args:
        replica: The replica.
        tell: Gets the changes.
        interval: Seconds between them at least; 0 is once a turn of the loop.
    """

    def __init__(self, replica: NetworkMachine, tell: ChangeFn, interval: float) -> None:
        self._replica = replica
        self._tell = tell
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._told_at = self._loop.time() - interval
        self._due: asyncio.Handle | None = None
        self._observer = ClockObserver(self._wake)
        replica.observe_clock(self._observer)
        self._active = replica.active_states()

    def _wake(self) -> None:
        wait = self._told_at + self._interval - self._loop.time()
        if self._due is None and wait > 0:
            self._due = self._loop.call_later(wait, self._look)
        elif self._due is None:
            self._due = self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._due = None
        self._told_at = self._loop.time()
        ticks, _, _, _ = self._replica.read_changes(self._observer)
        before, now = self._active, self._replica.active_states()
        self._active = now
        on = tuple(name for name in now if name not in before)
        off = tuple(name for name in before if name not in now)
        if ticks:
            self._tell(Change(self._replica, on, off))

    def end(self) -> None:
        """Tell nothing more."""
        self._replica.unobserve_clock(self._observer)
        if self._due is not None:
            self._due.cancel()
            self._due = None


class ChangeIterator(Backlog[Change]):
    """``async for change in subscriber.changes()``; ends when the subscriber stops.

    Changes are kept from the moment of creation on, up to `limit`; the oldest is dropped then,
    and counted in `dropped`. One that conflates keeps one change a machine and drops none.
    """

    def __init__(
        self, limit: int, conflates: bool, closed: Callable[[ChangeIterator], None]
    ) -> None:
        super().__init__("changes", limit, closed)
        self._newest: dict[NetworkMachine, Change] = {}
        self._conflates = conflates

    def __len__(self) -> int:
        return super().__len__() + len(self._newest)

    def offer(self, change: Change) -> bool:
        """Keep a change; whether one was dropped for it."""
        if not self._conflates:
            return super().offer(change)
        earlier = self._newest.get(change.machine)
        self._newest[change.machine] = change if earlier is None else earlier.followed_by(change)
        self._arrived.set()
        return False

    def _next(self) -> Change:
        if self._newest:
            return self._newest.pop(next(iter(self._newest)))
        return super()._next()
