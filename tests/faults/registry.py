"""What a fault is, and the list of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.faults.lab import Lab

Inflict = Callable[[Lab], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: Its name on the command line.
        what: What is done, in a few words.
        inflict: Does it, and undoes what a user would have to undo (a cable, a process).
        shows: Counters of which one at least has to grow; none if users need not notice it.
        quick: Whether it is fast enough for every run of the tests.
        secured: Whether CURVE is on.
        sockets: `SocketOptions` of all programs.
        journal: Messages that the source's journal holds; None for many.
        relayed: Whether a relay stands between the source and all others.
    """

    name: str
    what: str
    inflict: Inflict
    shows: tuple[str, ...] = ()
    quick: bool = False
    secured: bool = False
    sockets: Mapping[str, int] = field(default_factory=dict)
    journal: int | None = None
    relayed: bool = False


FAULTS: dict[str, Fault] = {}


def fault(
    what: str,
    *shows: str,
    quick: bool = False,
    secured: bool = False,
    sockets: Mapping[str, int] | None = None,
    journal: int | None = None,
    relayed: bool = False,
) -> Callable[[Inflict], Inflict]:
    """Register a function as a fault, by its name with dashes; the arguments are `Fault`'s."""

    def register(inflict: Inflict) -> Inflict:
        name = inflict.__name__.replace("_", "-")
        FAULTS[name] = Fault(
            name, what, inflict, shows, quick, secured, sockets or {}, journal, relayed
        )
        return inflict

    return register
