"""A machine that takes payloads (spec rpc 8.2)."""

from __future__ import annotations

from collections.abc import Callable

from amzmq.machine import Event, Machine, Schema, States
from amzmq.rpc.payload import Payload
from amzmq.states import ConsumerStates


class Consumer(Machine):
    """For `Client(consumer=...)`: WorkerPayload is added here for each payload.

    Args:
        on_payload: Called with each payload.
        schema: A schema of your own that has the `ConsumerStates`, bound with handlers of your
            own instead of, or besides, `on_payload`.
        id: Names the machine.

    >>> prices = Consumer(lambda payload: print(payload.data))
    >>> prices.has("WorkerPayload")
    True
    """

    __slots__ = ()

    def __init__(
        self,
        on_payload: Callable[[Payload], None] | None = None,
        schema: Schema | type[States] = ConsumerStates,
        id: str = "",
    ) -> None:
        super().__init__(schema, id=id, tags=["rpc-consumer"])
        if on_payload is None:
            return

        def take(e: Event) -> None:
            payload = e.args["payload"]
            assert isinstance(payload, Payload)
            on_payload(payload)

        self.bind({"WorkerPayloadState": take}, id="on-payload")
