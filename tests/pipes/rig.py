"""Two small machines, and what the target is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amzmq.machine import Machine, State, Tracer, Transition

PATIENCE = 10.0

STATES = {
    "A": State(),
    "B": State(),
    "C": State(),
    "M": State(multi=True),
    "Start": State(),
    "Ready": State(),
    "ErrDisk": State(multi=True, require="Exception"),
    "Exception": State(multi=True),
}


def machine(id: str, *names: str, **options: Any) -> Machine:
    """A machine of the states above, or of plain ones with these names."""
    schema = {name: State() for name in names} if names else STATES
    return Machine(schema, id=id, **options)


def pair() -> tuple[Machine, Machine]:
    """A source and a target."""
    return machine("src"), machine("dst")


class Told(Tracer):
    """Keeps each mutation that a machine runs as text, e.g. ``add Exception ErrDisk``."""

    id = "told"

    def __init__(self, machine: Machine) -> None:
        self.all: list[str] = []
        self.args: list[dict[str, object]] = []
        self.sources: list[Any] = []
        machine.bind_tracer(self)

    def transition_end(self, tx: Transition) -> None:
        self.all.append(" ".join([tx.type, *tx.called]))
        self.args.append(dict(tx.mutation.args))
        self.sources.append(tx.source)


def hooks(machines: Iterable[Any]) -> int:
    """How many callbacks wait for the end of the machines."""
    return sum(len(machine.when_disposed()._callbacks) for machine in machines)
