"""Serving a machine and following it: Mux, Server, Client, NetworkMachine."""

from amzmq.rpc.client import Client
from amzmq.rpc.consumer import Consumer
from amzmq.rpc.mux import Mux
from amzmq.rpc.netmach import NetworkMachine
from amzmq.rpc.payload import Payload, PayloadIterator
from amzmq.rpc.retry import RetryPolicy
from amzmq.rpc.server import Server

__all__ = [
    "Client",
    "Consumer",
    "Mux",
    "NetworkMachine",
    "Payload",
    "PayloadIterator",
    "RetryPolicy",
    "Server",
]
