"""The commands of the REPL, as values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from amzmq.cli.repl.filters import Filters


class Mutation(enum.Enum):
    """What to do with states."""

    ADD = "add"
    REMOVE = "remove"
    SET = "set"
    TOGGLE = "toggle"


@dataclass(frozen=True, slots=True)
class Mutate:
    """Change the states of one machine."""

    kind: Mutation
    machine: str
    states: tuple[str, ...]
    args: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupMutate:
    """Change the states of every machine that is connected, matches and has them."""

    kind: Mutation
    states: tuple[str, ...]
    args: Mapping[str, object] = field(default_factory=dict)
    filters: Filters = field(default_factory=Filters)


@dataclass(frozen=True, slots=True)
class When:
    """Wait until all the states are active, or all are inactive; `timeout` in seconds."""

    machine: str
    states: tuple[str, ...]
    active: bool = True
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class WhenTime:
    """Wait until each state has reached its tick; `timeout` in seconds."""

    machine: str
    times: Mapping[str, int]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Show:
    """The active states, or all, in one line."""

    machine: str
    all: bool = False


@dataclass(frozen=True, slots=True)
class ShowTime:
    """The ticks, or their sum."""

    machine: str
    sum: bool = False


@dataclass(frozen=True, slots=True)
class Inspect:
    """Everything about the states of a machine."""

    machine: str


@dataclass(frozen=True, slots=True)
class ListMachines:
    """The machines that match.

    Attributes:
        states: Show the active states.
        states_all: Show all states.
        disconn: Show machines that are not connected as well.
    """

    filters: Filters = field(default_factory=Filters)
    states: bool = True
    states_all: bool = False
    disconn: bool = True


@dataclass(frozen=True, slots=True)
class Status:
    """How many machines are connected."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Try now to connect what is not connected; in a shell only."""


@dataclass(frozen=True, slots=True)
class Script:
    """Run the lines of a file, up to the first that fails."""

    path: str


@dataclass(frozen=True, slots=True)
class Cheatsheet:
    """Examples of everything."""


@dataclass(frozen=True, slots=True)
class Help:
    """All commands, or one in full; `topic` is "" for all."""

    topic: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave the shell."""


Command: TypeAlias = (
    Mutate
    | GroupMutate
    | When
    | WhenTime
    | Show
    | ShowTime
    | Inspect
    | ListMachines
    | Status
    | Connect
    | Script
    | Cheatsheet
    | Help
    | Exit
)
