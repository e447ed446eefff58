"""Serving a machine and following it: Mux, Server, Client, NetworkMachine."""

from amzmq.rpc.admission import NewServerFn, ServerRequest
from amzmq.rpc.client import Client, client_id
from amzmq.rpc.consumer import Consumer
from amzmq.rpc.listing import MachineInfo, list_machines
from amzmq.rpc.mux import Mux
from amzmq.rpc.netmach import NetworkMachine
from amzmq.rpc.payload import Payload, PayloadIterator
from amzmq.rpc.receipt import Receipt
from amzmq.rpc.retry import RetryPolicy
from amzmq.rpc.server import Server

__all__ = [
    "Client",
    "Consumer",
    "MachineInfo",
    "Mux",
    "NetworkMachine",
    "NewServerFn",
    "Payload",
    "PayloadIterator",
    "Receipt",
    "RetryPolicy",
    "Server",
    "ServerRequest",
    "client_id",
    "list_machines",
]
