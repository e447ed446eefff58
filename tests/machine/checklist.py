"""Machines for the reference's own tests (spec machine 11)."""

from __future__ import annotations

from amzmq.machine import (
    Machine,
    State,
)


def machine_of(**states: State) -> Machine:
    return Machine(states)


def from_(machine: Machine, *states: str) -> Machine:
    machine.set(*states)
    return machine
