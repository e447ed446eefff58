"""Small machines, and what records the things they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from amzmq.machine import Event, LogLevel, Machine, State, Tracer, Transition

# Long enough for any machine; only a test that fails waits for so long.
PATIENCE = 10.0


def plain(*names: str, **options: Any) -> Machine:
    """A machine of states without relations: A B C D, unless told."""
    return Machine({name: State() for name in names or "ABCD"}, **options)


def relations(**options: Any) -> Machine:
    """The machine of the reference's tests: Rels of spec machine 11."""
    schema = {
        "A": State(auto=True, require="C"),
        "B": State(multi=True, add="C"),
        "C": State(after="D"),
        "D": State(add=["C", "B"]),
    }
    return Machine(schema, **options)


def event_names(states: Iterable[str]) -> list[str]:
    """The names of all events that a machine of these states can have."""
    names = list(states)
    suffixes = ("Enter", "Exit", "State", "End")
    singles = [name + suffix for name in names for suffix in suffixes]
    return [*singles, *(x + y for x in names for y in names), "AnyEnter", "AnyState"]


def recorded(
    machine: Machine,
    answers: Mapping[str, object] | None = None,
    do: Mapping[str, Callable[[Event], object]] | None = None,
) -> list[str]:
    """Bind a handler for each event of a machine; returns the growing list of their calls.

    Args:
        machine: The machine.
        answers: What some handlers return; True otherwise.
        do: What some handlers call first.
    """
    calls: list[str] = []

    def handler(name: str) -> Callable[[Event], object]:
        def call(event: Event) -> object:
            calls.append(name)
            if do and name in do:
                do[name](event)
            return (answers or {}).get(name, True)

        return call

    machine.bind({name: handler(name) for name in event_names(machine.state_names)})
    return calls


def in_order(calls: list[str], *names: str) -> bool:
    """Whether these calls were made, each once, in this order."""
    return [name for name in calls if name in names] == list(names)


def logged(machine: Machine, level: LogLevel = LogLevel.OPS, **options: Any) -> list[str]:
    """Turn on the log of a machine; returns the growing list of its lines."""
    lines: list[str] = []
    machine.set_log(level, sink=lambda _, line: lines.append(line), show_id=False, **options)
    return lines


class Recorder(Tracer):
    """Records what a tracer is told."""

    id = "recorder"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.transitions: list[Transition] = []

    def machine_init(self, machine: Any) -> None:
        self.calls.append("machine_init")

    def new_submachine(self, parent: Any, child: Any) -> None:
        self.calls.append(f"new_submachine {parent.id} {child.id}")

    def mutation_queued(self, machine: Any, mutation: Any) -> None:
        self.calls.append(f"queued {mutation.describe(machine.state_names)}")

    def transition_init(self, tx: Transition) -> None:
        self.calls.append(f"init {tx.mutation_str()}")

    def transition_start(self, tx: Transition) -> None:
        self.calls.append("start")

    def handler_start(self, tx: Transition, binding: str, name: str) -> None:
        self.calls.append(f"handler_start {binding} {name}")

    def handler_end(self, tx: Transition, binding: str, name: str) -> None:
        self.calls.append(f"handler_end {binding} {name}")

    def transition_finals(self, tx: Transition) -> None:
        self.calls.append("finals")

    def transition_end(self, tx: Transition) -> None:
        self.calls.append(f"end {tx.mutation_str()}")
        self.transitions.append(tx)

    def queue_end(self, machine: Any) -> None:
        self.calls.append("queue_end")

    def schema_change(self, machine: Any, old: Any) -> None:
        self.calls.append(f"schema_change {len(old)}")

    def verify_states(self, machine: Any) -> None:
        self.calls.append("verify_states")

    def machine_dispose(self, machine_id: str) -> None:
        self.calls.append(f"machine_dispose {machine_id}")


def fail(message: str = "boom") -> Callable[[Event], object]:
    """A handler that raises."""

    def handler(event: Event) -> object:
        raise ValueError(message)

    return handler
