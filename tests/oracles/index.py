"""A history looked up in the ways that the promises need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeVar

from tests.oracles.history import (
    FULL,
    AtRest,
    Began,
    Changed,
    Clock,
    Follows,
    Gone,
    Happening,
    History,
    Ran,
    Said,
    Saw,
    Sent,
    Sight,
    SourceAtRest,
)

_Kind = TypeVar("_Kind")


class Life:
    """The clocks that one machine has had, as somebody with a sight sees them.

    Attributes:
        known: How many different clocks there were.
    """

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._ranks: dict[Clock, tuple[int, int]] = {}
        self._at: list[int] = []
        self._latest: Clock | None = None

    @property
    def known(self) -> int:
        """How many different clocks there were, one behind the other."""
        return len(self._at)

    def add(self, at: int, clock: Clock) -> None:
        """The machine's clock, from position `at` of the history on."""
        seen = self._sight.of(clock)
        if seen == self._latest:
            return
        self._latest = seen
        rank = len(self._at)
        self._at.append(at)
        # A shallow sight may show what it showed before: then it is the first and the last time.
        self._ranks[seen] = (self._ranks.get(seen, (rank, rank))[0], rank)

    def ranks(self, clock: Clock) -> tuple[int, int] | None:
        """The first and the last time that the clock was this one; None if never."""
        return self._ranks.get(clock)

    def since(self, rank: int) -> int:
        """The position from which on there was a clock of this rank."""
        return self._at[rank]

    def rank_at(self, at: int) -> int:
        """The rank of the clock at a position."""
        low, high = 0, len(self._at)
        while low < high:
            middle = (low + high) // 2
            if self._at[middle] <= at:
                low = middle + 1
            else:
                high = middle
        return low - 1


class Index:
    """A history with its lives, streams and followers.

    Attributes:
        lives: Life of each epoch.
        sights: Of each follower.
        gone: Followers to whom nothing is owed any more.
        ran: Position and happening of each run of a call.
        said: Position and happening of each numbered message of a stream.
        rest: Of each follower that was there at the end.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.all = list(history)
        self.lives: dict[str, str] = {}
        self.sights: dict[str, Sight] = {}
        self.gone: set[str] = set()
        self.ran: defaultdict[str, list[tuple[int, Ran]]] = defaultdict(list)
        self.said: defaultdict[str, list[tuple[int, Said]]] = defaultdict(list)
        self.rest: dict[str, AtRest] = {}
        self.source_rest: SourceAtRest | None = None
        self._of: defaultdict[type[object], list[tuple[int, Happening]]] = defaultdict(list)
        self._clocks: dict[tuple[str, Sight], Life] = {}
        for at, happening in enumerate(self.all):
            self._of[type(happening)].append((at, happening))
            self._take(at, happening)

    def _take(self, at: int, happening: Happening) -> None:
        if isinstance(happening, Began):
            self.lives[happening.epoch] = happening.life
        elif isinstance(happening, Follows):
            self.sights[happening.follower] = happening.sight
        elif isinstance(happening, Gone):
            self.gone.add(happening.follower)
        elif isinstance(happening, Ran):
            self.ran[happening.call].append((at, happening))
        elif isinstance(happening, Said):
            self.said[happening.stream].append((at, happening))
        elif isinstance(happening, AtRest):
            self.rest[happening.follower] = happening
        elif isinstance(happening, SourceAtRest):
            self.source_rest = happening

    def of(self, kind: type[_Kind]) -> Iterator[tuple[int, _Kind]]:
        """All happenings of a kind, with their positions."""
        for at, happening in self._of[kind]:
            assert isinstance(happening, kind)
            yield at, happening

    def published(self) -> dict[str, int]:
        """When each payload for everybody was said first: each stream says it once."""
        first: dict[str, int] = {}
        for messages in self.said.values():
            for at, said in messages:
                if said.token:
                    first[said.token] = min(at, first.get(said.token, at))
        return first

    def posted(self) -> dict[str, int]:
        """When each payload for one follower left first."""
        first: dict[str, int] = {}
        for at, sent in self.of(Sent):
            first.setdefault(sent.token, at)
        return first

    def clocks(self, life: str, sight: Sight = FULL) -> Life:
        """The clocks of a life, for a sight."""
        key = (life, sight)
        if key not in self._clocks:
            clocks = self._clocks[key] = Life(sight)
            for at, changed in self.of(Changed):
                if changed.life == life:
                    clocks.add(at, changed.clock)
        return self._clocks[key]

    def clocks_for(self, follower: str, epoch: str) -> Life:
        """The clocks of the life behind an epoch, as a follower sees them."""
        return self.clocks(self.lives[epoch], self.sights[follower])

    def seen(self) -> dict[str, list[tuple[int, Saw]]]:
        """What each follower saw."""
        seen: defaultdict[str, list[tuple[int, Saw]]] = defaultdict(list)
        for at, saw in self.of(Saw):
            seen[saw.follower].append((at, saw))
        return seen
