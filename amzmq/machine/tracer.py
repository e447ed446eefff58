"""Tracers: told of everything a machine does, on the thread that does it (spec machine 8)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amzmq.machine.mutation import Mutation
    from amzmq.machine.schema import State
    from amzmq.machine.transition import Transition

_log = logging.getLogger("amzmq.machine")


class Tracer:
    """Base of tracers: override what you need. `machine` is a Machine or a NetworkMachine.

    An exception in a callback is logged and goes no further: what is traced is not at fault.

    Attributes:
        id: Names the tracer for `detach_tracer`; required.
    """

    id: str = ""

    def machine_init(self, machine: Any) -> None:
        """A machine was constructed with this tracer."""

    def new_submachine(self, parent: Any, child: Any) -> None:
        """A machine was constructed with `parent` as its parent."""

    def mutation_queued(self, machine: Any, mutation: Mutation) -> None:
        """A mutation entered the queue."""

    def transition_init(self, tx: Transition) -> None:
        """A transition was resolved; `tx.time_after` is a prediction."""

    def transition_start(self, tx: Transition) -> None:
        """Directly after `transition_init`."""

    def handler_start(self, tx: Transition, binding: str, name: str) -> None:
        """A bound handler is about to be called."""

    def handler_end(self, tx: Transition, binding: str, name: str) -> None:
        """It returned, vetoed or raised."""

    def transition_finals(self, tx: Transition) -> None:
        """After commit, before the final handlers."""

    def transition_end(self, tx: Transition) -> None:
        """A transition is complete; always called."""

    def queue_end(self, machine: Any) -> None:
        """A drain of the queue has ended."""

    def schema_change(self, machine: Any, old: Mapping[str, State]) -> None:
        """The schema was replaced."""

    def verify_states(self, machine: Any) -> None:
        """The order of the states was fixed."""

    def machine_dispose(self, machine_id: str) -> None:
        """The machine is being disposed."""


class LastTransition(Tracer):
    """Keeps the transition that ended last.

    Attributes:
        last: That transition; None before the first one.
    """

    id = "lasttx"

    def __init__(self) -> None:
        self.last: Transition | None = None

    def transition_end(self, tx: Transition) -> None:
        """Keep it."""
        self.last = tx


def tell(tracers: Iterable[Tracer], callback: str, *args: object) -> None:
    """Call one callback of every tracer, in bind order."""
    for tracer in tracers:
        try:
            getattr(tracer, callback)(*args)
        except Exception:
            # A transition cannot stop half way because somebody looks on.
            _log.exception("tracer %r failed in %s", tracer.id, callback)
