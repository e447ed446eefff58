"""What a handler receives (spec machine 5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from amzmq.machine.args import EXCEPTION_ARGS, ExceptionArgs
from amzmq.machine.mutation import NO_ARGS, Mutation, Source

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine
    from amzmq.machine.transition import Transition


class HasSource(Protocol):
    """What a mutation takes as ``event=``: an event, a copy of one, or a bare source."""

    def source(self) -> Source:
        """Where a mutation made with it comes from."""


class Event:
    """One handler call: what happens, where, and with which arguments.

    Attributes:
        name: The event, e.g. ``OpenState``.
        args: Arguments of the mutation; shared by all handlers of the transition.
        machine: The machine whose handler this is.
    """

    __slots__ = ("_tx", "args", "machine", "name")

    def __init__(
        self, name: str, args: Mapping[str, object], machine: Machine, tx: Transition
    ) -> None:
        self.name = name
        self.args = args
        self.machine = machine
        self._tx = tx

    @property
    def machine_id(self) -> str:
        """Id of the machine."""
        return self.machine.id

    @property
    def transition_id(self) -> str:
        """Id of the transition the handler runs in."""
        return self._tx.id

    @property
    def transition(self) -> Transition | None:
        """The machine's current transition; None when it runs none."""
        return self.machine.transition()

    @property
    def mutation(self) -> Mutation:
        """The mutation behind the transition."""
        return self._tx.mutation

    @property
    def is_check(self) -> bool:
        """Whether this is a dry run (`can_add`, `can_remove`)."""
        return self._tx.is_check

    @property
    def error(self) -> BaseException | None:
        """The error that came with the mutation (`add_err`), if any."""
        return _error(self.args)

    def is_valid(self) -> bool:
        """Whether the transition is still running and accepted."""
        tx = self._tx
        return self.machine.runs(tx) and tx.is_accepted and not tx.is_completed

    def source(self) -> Source:
        """Where a mutation made with this event comes from; time 0 once the transition ended."""
        tx = self._tx
        time = tx.time_before.sum() if self.machine.runs(tx) else 0
        return Source(self.machine.id, tx.id, time)

    def export(self) -> EventCopy:
        """A copy that may leave the process: the ids, the name, and whether it is a check."""
        return EventCopy(self.machine_id, self.transition_id, self.name, self.is_check)

    def clone(self) -> EventCopy:
        """A copy with the arguments, that does not keep the machine alive."""
        return self.swap_args(self.args)

    def swap_args(self, args: Mapping[str, object]) -> EventCopy:
        """A copy with other arguments."""
        return self.export()._replace(args=args, text=str(self))

    def __str__(self) -> str:
        return self._tx.mutation_str()


class EventCopy(NamedTuple):
    """An event without its machine; never valid, and good as ``event=`` of a mutation."""

    machine_id: str
    transition_id: str
    name: str = ""
    is_check: bool = False
    args: Mapping[str, object] = NO_ARGS
    text: str = ""

    @property
    def error(self) -> BaseException | None:
        """The error that came with the mutation, if any."""
        return _error(self.args)

    def is_valid(self) -> bool:
        """False: no transition belongs to it."""
        return False

    def source(self) -> Source:
        """Where a mutation made with this event comes from; the time is not known."""
        return Source(self.machine_id, self.transition_id, 0)

    def export(self) -> EventCopy:
        """Without the arguments."""
        return self.swap_args(NO_ARGS)

    def clone(self) -> EventCopy:
        """Itself: it cannot change."""
        return self

    def swap_args(self, args: Mapping[str, object]) -> EventCopy:
        """With other arguments."""
        return self._replace(args=args)

    def __str__(self) -> str:
        return self.text or self.name


def _error(args: Mapping[str, object]) -> BaseException | None:
    details = args.get(EXCEPTION_ARGS)
    return details.err if isinstance(details, ExceptionArgs) else None
