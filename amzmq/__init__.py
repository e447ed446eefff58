"""amzmq: live state for everyone, without a broker."""

from amzmq.errors import AmzmqError
from amzmq.machine import Machine, Result, State, States
from amzmq.machine.api import Api
from amzmq.rpc import Client, Consumer, Mux, NetworkMachine, Payload

__all__ = [
    "AmzmqError",
    "Api",
    "Client",
    "Consumer",
    "Machine",
    "Mux",
    "NetworkMachine",
    "Payload",
    "Result",
    "State",
    "States",
]
