"""Whether two sides speak of the same clock."""

from __future__ import annotations

from amzmq.errors import StateUnknown
from amzmq.machine.api import Api
from amzmq.wire.checksum import ClockSum


def checksum(machine: Api, *states: str) -> int:
    """32 bits of a machine's clock; equal for a machine and a replica that is level with it.

    Of a replica that follows some states only, the same states of the machine are compared:
    ``checksum(replica, *states) == checksum(machine, *states)``. Their names and their order
    count, as do the queue tick and the machine tick. Unlike the reference's 8 bits, it sees swaps,
    wraps and errors that compensate each other (spec rpc 10.3, items 8 and 9).

    Args:
        machine: A machine or a replica.
        states: Which states count; all when empty.

    Raises:
        StateUnknown: A name is not a state of the machine.

    >>> from amzmq import Machine, State
    >>> one, other = Machine({"A": State(), "B": State()}), Machine({"A": State(), "B": State()})
    >>> one.add("A"), other.add("B"), checksum(one) == checksum(other)
    (Result.EXECUTED, Result.EXECUTED, False)
    """
    moment = machine.export()
    names, ticks = moment["state_names"], moment["time"]
    if states:
        clock = dict(zip(names, ticks, strict=True))
        if unknown := tuple(state for state in states if state not in clock):
            raise StateUnknown(unknown, machine.id, tuple(names))
        names, ticks = states, [clock[state] for state in states]
    return ClockSum(names).reset(ticks, moment["queue_tick"], moment["machine_tick"])
