"""amzmq: live state for everyone, without a broker."""

from amzmq.errors import AmzmqError
from amzmq.machine import Machine, Result, State, States
from amzmq.machine.api import Api
from amzmq.net import Keys
from amzmq.rpc import Client, Consumer, Mux, NetworkMachine, Payload, Subscriber, list_machines
from amzmq.wire.types import Unregistered, register_dataclass, register_type

__all__ = [
    "AmzmqError",
    "Api",
    "Client",
    "Consumer",
    "Keys",
    "Machine",
    "Mux",
    "NetworkMachine",
    "Payload",
    "Result",
    "State",
    "States",
    "Subscriber",
    "Unregistered",
    "list_machines",
    "register_dataclass",
    "register_type",
]
