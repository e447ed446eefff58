"""What a handler receives (spec machine 5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from amzmq.machine.mutation import Mutation, Source

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine
    from amzmq.machine.transition import Transition

EXCEPTION_ARGS = "_am__Exception"
"""Key of the `ExceptionArgs` in the arguments of an error (spec machine 7)."""


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
        details = self.args.get(EXCEPTION_ARGS)
        return details.err if isinstance(details, ExceptionArgs) else None

    def is_valid(self) -> bool:
        """Whether the transition is still running and accepted."""
        tx = self._tx
        return self.machine.runs(tx) and tx.is_accepted and not tx.is_completed

    def source(self) -> Source:
        """Where a mutation made with this event comes from; time 0 once the transition ended."""
        tx = self._tx
        time = tx.time_before.sum() if self.machine.runs(tx) else 0
        return Source(self.machine.id, tx.id, time)

    def __str__(self) -> str:
        return self._tx.mutation_str()


class ExceptionArgs:
    """The typed arguments of an error.

    Attributes:
        err: The error.
        trace: Its formatted traceback, or "".
        called: States that were called when a handler raised it; () otherwise.
        before: States active before that transition.
    """

    __slots__ = ("before", "called", "err", "trace")

    def __init__(
        self,
        err: BaseException,
        trace: str = "",
        called: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
    ) -> None:
        self.err = err
        self.trace = trace
        self.called = called
        self.before = before

    def __repr__(self) -> str:
        return f"ExceptionArgs({self.err!r})"
