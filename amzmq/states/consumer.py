"""What a machine has that takes payloads (spec rpc 2.1, 8)."""

from __future__ import annotations

from amzmq.machine.schema import State, States


class ConsumerStates(States):
    """WorkerPayload is added for each payload, with the arguments `name` and `payload`."""

    Exception = State(multi=True)
    WorkerPayload = State(multi=True)
