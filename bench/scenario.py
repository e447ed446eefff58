"""The machines that all benchmarks use."""

from __future__ import annotations

from amzmq import Machine, State

SCHEMA = {
    "A": State(),
    "B": State(require="A"),
    "C": State(add="F", remove="D"),
    "D": State(remove="C"),
    "E": State(after="A"),
    "F": State(),
    "G": State(require="A", after="B"),
    "H": State(multi=True),
    "I": State(),
    "J": State(remove="I"),
    "Exception": State(multi=True),
}
START = ("A", "B", "G")


def small_machine() -> Machine:
    """Eleven states, A B G active."""
    machine = Machine(SCHEMA, id="bench")
    machine.add(*START)
    return machine


def large_schema(states: int) -> dict[str, State]:
    """The small schema with further states, a fifth of them with a relation."""
    schema = dict(SCHEMA)
    for at in range(states - len(schema)):
        relation = {2: State(require=f"S{at - 2}"), 3: State(remove=f"S{at - 1}")}
        schema[f"S{at}"] = relation.get(at % 10, State())
    return schema


def large_machine(states: int) -> Machine:
    """So many states, half of them active."""
    schema = large_schema(states)
    machine = Machine(schema, id="bench")
    machine.add(*START, *(name for name in schema if name[0] == "S" and int(name[1:]) % 2 == 0))
    return machine
