"""What happened to sources and followers, as plain values in the order in which it happened.

A history knows nothing of sockets, loops or machines: it is written by `recorder`, in one process
or in several, and judged by `promises`. Across processes the order is that of the system's
monotonic clock, which all processes of a host share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast


@dataclass(frozen=True, slots=True)
class Clock:
    """Everything that replicates.

    Attributes:
        ticks: (state, tick) of all states that have ever ticked: a schema may grow meanwhile.
        queue_tick, machine_tick: The two counters.
    """

    ticks: frozenset[tuple[str, int]]
    queue_tick: int
    machine_tick: int

    @classmethod
    def of(cls, names: Iterable[str], ticks: Iterable[int], queue: int, machine: int) -> Clock:
        """The clock of parallel names and ticks."""
        pairs = frozenset(pair for pair in zip(names, ticks, strict=True) if pair[1])
        return cls(pairs, queue, machine)

    def __str__(self) -> str:
        ticks = " ".join(f"{name}:{tick}" for name, tick in sorted(self.ticks))
        return f"({ticks} q{self.queue_tick} m{self.machine_tick})"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a follower asked to see of a clock.

    Attributes:
        allowed: Only these states, if not None.
        skipped: Not these.
        shallow: Only whether a state is active.
    """

    allowed: frozenset[str] | None = None
    skipped: frozenset[str] = frozenset()
    shallow: bool = False

    def sees(self, name: str) -> bool:
        """Whether the follower is told of a state."""
        return name not in self.skipped and (self.allowed is None or name in self.allowed)

    def of(self, clock: Clock) -> Clock:
        """What is to be seen of a clock."""
        if self == FULL:
            return clock
        ticks = (
            (name, tick & 1 if self.shallow else tick)
            for name, tick in clock.ticks
            if self.sees(name)
        )
        seen = frozenset(pair for pair in ticks if pair[1])
        return Clock(seen, clock.queue_tick, clock.machine_tick)


FULL = Sight()


# What a source does. A life is one machine; an epoch is one time that a Mux serves it.


@dataclass(frozen=True, slots=True)
class Began:
    """A source serves a life under an epoch."""

    life: str
    epoch: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A transition of the source has ended with this clock."""

    life: str
    clock: Clock


@dataclass(frozen=True, slots=True)
class Ran:
    """The source ran a mutation that a follower had called; whether it accepted it."""

    life: str
    call: str
    accepted: bool


@dataclass(frozen=True, slots=True)
class Said:
    """The source published a numbered message; `token` is that of a payload, "" for others."""

    stream: str
    number: int
    token: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The source published where a stream is."""

    stream: str
    number: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The source sent a payload to one follower; `follower` is "" where the wire tells of it."""

    life: str
    follower: str
    token: str


@dataclass(frozen=True, slots=True)
class Fate:
    """The source learned, or decided, what became of a payload to one follower."""

    token: str
    taken: bool


# What a follower does. One that is made anew has another name.


@dataclass(frozen=True, slots=True)
class Follows:
    """A follower was made."""

    follower: str
    sight: Sight


@dataclass(frozen=True, slots=True)
class Welcomed:
    """It was told which stream to follow."""

    follower: str
    epoch: str
    stream: str


@dataclass(frozen=True, slots=True)
class Ready:
    """It is level with the source for the first time on this connection."""

    follower: str
    epoch: str
    stream: str
    number: int


@dataclass(frozen=True, slots=True)
class Saw:
    """Its replica shows another clock."""

    follower: str
    epoch: str
    stream: str
    number: int
    clock: Clock
    whole: bool
    """Whether it came by a snapshot, or the replica went over to another stream."""


@dataclass(frozen=True, slots=True)
class Took:
    """It was given a payload; the clock is what its replica showed then."""

    follower: str
    epoch: str
    token: str
    clock: Clock


@dataclass(frozen=True, slots=True)
class Heard:
    """It heard a heartbeat at the very number it had applied: the two checksums."""

    follower: str
    number: int
    told: int
    own: int


@dataclass(frozen=True, slots=True)
class Asked:
    """It asked for what follows a number; `epoch` is "" if it wanted a snapshot."""

    follower: str
    request: int
    epoch: str
    number: int


@dataclass(frozen=True, slots=True)
class Caught:
    """It was answered: by the journal, or by a snapshot taken at `number`."""

    follower: str
    request: int
    whole: bool
    number: int


@dataclass(frozen=True, slots=True)
class Called:
    """It called a mutation; `replied` is whether it wants to know the result."""

    follower: str
    call: str
    replied: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A call ended.

    Attributes:
        outcome: "executed", "canceled", "unsent" (it never left), "refused" (it was not run), or
            "unknown" (it may have run).
        epoch: That of the follower then.
        clock: What its replica showed then; None if it has none.
    """

    follower: str
    call: str
    outcome: str
    epoch: str
    clock: Clock | None


@dataclass(frozen=True, slots=True)
class Waits:
    """It waits for a key, which only the source can see."""

    follower: str
    key: str


@dataclass(frozen=True, slots=True)
class Fired:
    """The key came up at the source."""

    life: str
    key: str


@dataclass(frozen=True, slots=True)
class Met:
    """The follower's wait for the key ended."""

    follower: str
    key: str


@dataclass(frozen=True, slots=True)
class Gone:
    """It ended: nothing is owed to it any more."""

    follower: str


@dataclass(frozen=True, slots=True)
class AtRest:
    """Everything is healed and quiet; a follower and its counters.

    Attributes:
        lost: Payloads that it counted as lost.
        ns_open: Mutations without reply that are not known to have run: those it counted as lost,
            those that the source has not reported, and those that were refused.
    """

    follower: str
    epoch: str
    stream: str
    number: int
    clock: Clock
    lost: int
    ns_open: int


@dataclass(frozen=True, slots=True)
class SourceAtRest:
    """Everything is healed and quiet; the source."""

    life: str
    epoch: str
    clock: Clock


Happening: TypeAlias = (
    Began | Changed | Ran | Said | Beat | Sent | Fate | Follows | Welcomed | Ready | Saw | Took
    | Heard | Asked | Caught | Called | Answered | Waits | Fired | Met | Gone | AtRest
    | SourceAtRest
)  # fmt: skip


class History:
    """Happenings in order.

    Args:
        journal: Messages that the sources' journals hold at least.
        happenings: What is known already.
    """

    def __init__(self, journal: int, happenings: Iterable[Happening] = ()) -> None:
        self.journal = journal
        self._all = list(happenings)

    def note(self, happening: Happening) -> None:
        """One more."""
        self._all.append(happening)

    def __iter__(self) -> Iterator[Happening]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


# As rows of a file: [name of the class, field, field, ...].


def to_row(happening: Happening) -> list[object]:
    """A happening as values that JSON knows."""
    fields = (getattr(happening, field.name) for field in dataclasses.fields(happening))
    return [type(happening).__name__, *map(_plain, fields)]


def from_row(row: list[object]) -> Happening:
    """What `to_row` made a row of."""
    name, *fields = row
    made = _KINDS[cast(str, name)](*map(_rich, fields))
    return cast(Happening, made)


def _plain(value: object) -> object:
    if isinstance(value, Clock):
        return {"ticks": sorted(value.ticks), "clock": [value.queue_tick, value.machine_tick]}
    if isinstance(value, Sight):
        allowed = None if value.allowed is None else sorted(value.allowed)
        return {"sight": [allowed, sorted(value.skipped), value.shallow]}
    return value


def _rich(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    if "sight" in value:
        allowed, skipped, shallow = value["sight"]
        return Sight(None if allowed is None else frozenset(allowed), frozenset(skipped), shallow)
    ticks = frozenset((name, tick) for name, tick in value["ticks"])
    return Clock(ticks, *value["clock"])


_KINDS: dict[str, Callable[..., object]] = {
    kind.__name__: kind
    for kind in (
        Began, Changed, Ran, Said, Beat, Sent, Fate, Follows, Welcomed, Ready, Saw, Took, Heard,
        Asked, Caught, Called, Answered, Waits, Fired, Met, Gone, AtRest, SourceAtRest,
    )
}  # fmt: skip
