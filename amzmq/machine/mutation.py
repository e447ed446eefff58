"""Requests to change a machine, and the queue they wait in (spec machine 3)."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from amzmq.machine.resolver import MutationType
from amzmq.machine.result import Result


class Source(NamedTuple):
    """Where a mutation came from: the transition whose handler made it (spec machine 3.1)."""

    machine_id: str
    tx_id: str
    time: int

    def source(self) -> Source:
        """Itself, as what an event answers."""
        return self


class Position(enum.IntEnum):
    """Where in the queue to look (spec machine 0)."""

    ANY = 0
    FIRST = 1
    LAST = 2


class QueuePlace(NamedTuple):
    """A waiting mutation that was looked for.

    Attributes:
        at: Its place in the queue, 0 is the head.
        queue_tick: Its queue tick; 0 for a prepended one.
    """

    at: int
    queue_tick: int


NO_ARGS: Mapping[str, object] = {}


class Mutation:
    """One queued request.

    Attributes:
        type: add, remove, set or eval.
        called: Indexes of the called states, unique, in order of the call.
        args: The arguments of the call.
        source: The event it was made with, if any.
        is_auto: Made by the auto mechanism.
        is_check: A dry run.
        queue_tick: The tick on which it runs; 0 for prepended ones.
        result: The outcome, once it has run.
        evaluate: What an eval runs.
    """

    __slots__ = (
        "_place",
        "args",
        "called",
        "evaluate",
        "is_auto",
        "is_check",
        "queue_tick",
        "result",
        "source",
        "type",
    )

    _place: tuple[int, int, int]

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
        self.result: Result | None = None
        self.evaluate: Callable[[], None] | None = None

    # `_place` is set only in the queue: a mutation that runs at once should not pay for it.

    @property
    def queue_tick_now(self) -> int:
        """The machine's queue tick when it was queued; 0 before."""
        return getattr(self, "_place", (max(0, self.queue_tick - 1), 0, 0))[0]

    @property
    def queue_len(self) -> int:
        """How many waited when it was queued, itself included; 0 before."""
        return getattr(self, "_place", (0, int(self.queue_tick > 0), 0))[1]

    @property
    def queue_token(self) -> int:
        """Counts the prepended mutations of a machine, evals apart; 0 for an appended one."""
        return getattr(self, "_place", (0, 0, 0))[2]

    def clone(self) -> Mutation:
        """The same request, not queued yet."""
        return Mutation(self.type, self.called, self.args, self.source, self.is_auto, self.is_check)

    def describe(self, names: Sequence[str]) -> str:
        """The mutation in short, e.g. ``[add] A B``; the states in index order."""
        called = " ".join(names[state] for state in sorted(self.called))
        return f"[{self.type}] {called}"

    def __str__(self) -> str:
        return f"[{self.type}] {' '.join(map(str, sorted(self.called)))}"

    def __repr__(self) -> str:
        return f"<Mutation {self} tick={self.queue_tick}>"


class MutationQueue:
    """Waiting mutations; the running one is not among them.

    Not synchronised: the machine holds its lock around every call.
    """

    __slots__ = ("_token", "pending", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Mutation] = deque()
        self._token = 0
        self.pending = 0
        """Waiting mutations that will advance the queue tick."""

    def append(self, mutation: Mutation, queue_tick: int) -> None:
        """Append, giving the mutation its queue tick."""
        self.pending += 1
        mutation.queue_tick = self.pending + queue_tick
        self.waiting.append(mutation)
        mutation._place = (queue_tick, len(self.waiting), 0)

    def prepend(self, mutation: Mutation, queue_tick: int) -> None:
        """Put in front of everything; such a mutation never advances the queue tick."""
        self.waiting.appendleft(mutation)
        token = 0
        if mutation.type is not MutationType.EVAL:
            token = self._token = self._token + 1
        mutation._place = (queue_tick, len(self.waiting), token)

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

    def find(
        self,
        type_: MutationType,
        called: tuple[int, ...],
        *,
        without_args: bool = False,
        strict: bool = False,
        min_tick: int = 0,
        is_check: bool = False,
        position: Position = Position.ANY,
    ) -> QueuePlace | None:
        """The first waiting mutation that fits (spec machine 3.8); the arguments are its own."""
        candidates: Sequence[Mutation] = list(self.waiting)
        if position is Position.FIRST:
            candidates = candidates[:1]
        elif position is Position.LAST:
            candidates = candidates[-1:]
        for at, other in enumerate(candidates):
            if (
                other.type is type_
                and other.is_check is is_check
                and other.queue_tick >= min_tick
                and not (without_args and other.args)
                and set(called).issubset(other.called)
                and not (strict and len(other.called) != len(called))
            ):
                return QueuePlace(at, other.queue_tick)
        return None

    def discard_all(self) -> list[Mutation]:
        """Empty the queue; returns what was dropped."""
        dropped = list(self.waiting)
        self.waiting.clear()
        self.pending = 0
        return dropped
