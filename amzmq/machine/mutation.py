"""Requests to change a machine, and the queue they wait in (spec machine 3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from amzmq.machine.resolver import MutationType


class Source(NamedTuple):
    """Where a mutation came from: the transition whose handler made it (spec machine 3.1)."""

    machine_id: str
    tx_id: str
    time: int


NO_ARGS: Mapping[str, object] = {}


class Mutation:
    """One queued request.

    Attributes:
        type: add, remove or set.
        called: Indexes of the called states, unique, in order of the call.
        args: The arguments of the call.
        is_auto: Made by the auto mechanism.
        is_check: A dry run.
        source: The event it was made with, if any.
        queue_tick: The tick on which it runs; 0 for prepended ones.
    """

    __slots__ = ("args", "called", "is_auto", "is_check", "queue_tick", "source", "type")

    def __init__(
        self,
        type_: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object] = NO_ARGS,
        source: Source | None = None,
        is_auto: bool = False,
        is_check: bool = False,
    ) -> None:
        self.type = type_
        self.called = called
        self.args = args
        self.source = source
        self.is_auto = is_auto
        self.is_check = is_check
        self.queue_tick = 0


class MutationQueue:
    """Waiting mutations; the running one is not among them.

    Not synchronised: the machine holds its lock around every call.
    """

    __slots__ = ("pending", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Mutation] = deque()
        self.pending = 0
        """Waiting mutations that will advance the queue tick."""

    def __len__(self) -> int:
        return len(self.waiting)

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def append(self, mutation: Mutation, queue_tick: int) -> None:
        """Append, giving the mutation its queue tick."""
        self.pending += 1
        mutation.queue_tick = self.pending + queue_tick
        self.waiting.append(mutation)

    def prepend(self, mutation: Mutation) -> None:
        """Put in front of everything; such a mutation never advances the queue tick."""
        self.waiting.appendleft(mutation)

    def pop(self) -> Mutation:
        """Take the head."""
        mutation = self.waiting.popleft()
        if mutation.queue_tick:
            self.pending -= 1
        return mutation

    def duplicates(self, type_: MutationType, called: tuple[int, ...]) -> bool:
        """Whether an equal mutation without arguments waits already (spec 3.4, step 2)."""
        wanted = set(called)
        return any(
            other.type is type_
            and not other.is_check
            and not other.args
            and len(other.called) == len(called)
            and wanted.issuperset(other.called)
            for other in self.waiting
        )

    def discard_all(self) -> list[Mutation]:
        """Empty the queue; returns what was dropped."""
        dropped = list(self.waiting)
        self.waiting.clear()
        self.pending = 0
        return dropped
