"""The kinds of waits, and what each needs to know to be met (spec machine 6.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from amzmq.machine.wait import Wait, WaitOwner

_log = logging.getLogger("amzmq.machine")


class Condition(Wait):
    """A wait that is registered with a machine.

    Attributes:
        token: Releases the wait too, at the next look, once it is done itself.
        listed: Whether it is registered; guarded by the owner's lock.
        key: Equal waits share one object by it; None for kinds that are never shared.
    """

    __slots__ = ("key", "listed", "token")

    def __init__(self, owner: WaitOwner, token: Wait | None, key: Hashable = None) -> None:
        super().__init__(owner)
        self.token = token
        self.listed = False
        self.key = key

    def watched(self) -> Iterable[int]:
        """The states whose ticks it depends on."""
        return ()

    def met(self, ticks: Sequence[int], queue_tick: int) -> bool:
        """Whether it is met at this clock, when somebody comes back to it."""
        return False


class StatesWait(Condition):
    """Waits until all of `states` are active (`wanted` True), or all inactive."""

    __slots__ = ("missing", "states", "wanted")

    def __init__(
        self,
        owner: WaitOwner,
        token: Wait | None,
        key: Hashable,
        states: frozenset[int],
        wanted: bool,
    ) -> None:
        super().__init__(owner, token, key)
        self.states = states
        self.wanted = wanted
        self.missing: set[int] = set()

    def watched(self) -> Iterable[int]:
        """See `Condition`."""
        return self.states

    def met(self, ticks: Sequence[int], queue_tick: int) -> bool:
        """See `Condition`."""
        self.missing = {at for at in self.states if (ticks[at] & 1 == 1) is not self.wanted}
        return not self.missing


class TimeWait(Condition):
    """Waits until each state has reached its tick; each is remembered once reached."""

    __slots__ = ("asked", "missing")

    def __init__(
        self,
        owner: WaitOwner,
        token: Wait | None,
        key: Hashable,
        missing: dict[int, int],
        asked: Mapping[str, int],
    ) -> None:
        super().__init__(owner, token, key)
        self.missing = missing
        self.asked = asked

    def watched(self) -> Iterable[int]:
        """See `Condition`."""
        return tuple(self.missing)

    def met(self, ticks: Sequence[int], queue_tick: int) -> bool:
        """See `Condition`."""
        self.missing = {at: tick for at, tick in self.missing.items() if ticks[at] < tick}
        return not self.missing


class QueueWait(Condition):
    """Waits until the queue tick has reached `tick`."""

    __slots__ = ("tick",)

    def __init__(self, owner: WaitOwner, token: Wait | None, tick: int) -> None:
        super().__init__(owner, token)
        self.tick = tick

    def met(self, ticks: Sequence[int], queue_tick: int) -> bool:
        """See `Condition`."""
        return queue_tick >= self.tick


class QueryWait(Condition):
    """Waits until a predicate over the clock is true at the end of a transition."""

    __slots__ = ("number", "query")

    def __init__(
        self, owner: WaitOwner, token: Wait | None, query: Callable[[Mapping[str, int]], bool]
    ) -> None:
        super().__init__(owner, token)
        self.query = query
        self.number = 0


class ArgsWait(Condition):
    """Waits until a state's final handlers ran with the given arguments."""

    __slots__ = ("args", "state")

    def __init__(
        self, owner: WaitOwner, token: Wait | None, state: int, args: Mapping[str, object]
    ) -> None:
        super().__init__(owner, token)
        self.state = state
        self.args = dict(args)

    def watched(self) -> Iterable[int]:
        """See `Condition`."""
        return (self.state,)

    def matches(self, args: Mapping[str, object]) -> bool:
        """Whether `args` has every expected key with an equal value."""
        return includes(args, self.args)


def includes(args: Mapping[str, object], expected: Mapping[str, object]) -> bool:
    """Whether `args` has every expected key with an equal value."""
    try:
        return all(key in args and bool(args[key] == value) for key, value in expected.items())
    except Exception:
        # Some values (arrays) do not say whether they are equal: nobody waits for such.
        _log.debug("arguments cannot be compared", exc_info=True)
        return False
