"""Serving a machine and following it: Mux, Server, Client, NetworkMachine."""

from amzmq.rpc.args import pass_args, pass_rpc
from amzmq.rpc.binding import bind_mux, bind_server, bind_server_multi, bind_server_rpc_ready
from amzmq.rpc.client.client import Client
from amzmq.rpc.client.party import client_id
from amzmq.rpc.compare import checksum
from amzmq.rpc.consumer import Consumer
from amzmq.rpc.listing import MachineInfo, list_machines
from amzmq.rpc.payload import Payload, PayloadIterator
from amzmq.rpc.relay.relay import Relay
from amzmq.rpc.relay.upstream import RelayLoop
from amzmq.rpc.repl import MachRepl, mach_repl, mach_repl_env
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.retry import RetryPolicy
from amzmq.rpc.server.admission import NewServerFn, ServerRequest
from amzmq.rpc.server.clock_file import PersistFailed
from amzmq.rpc.server.limits import Limits
from amzmq.rpc.server.mux import Mux
from amzmq.rpc.server.persist import Fsync
from amzmq.rpc.server.receipt import Receipt
from amzmq.rpc.server.rights import Policy
from amzmq.rpc.server.server import Server
from amzmq.rpc.setters import (
    add_err,
    add_err_network,
    add_err_network_timeout,
    add_err_no_conn,
    add_err_params,
    add_err_resp,
    add_err_rpc_str,
)
from amzmq.rpc.subscriber.subscriber import Subscriber

__all__ = [
    "Client",
    "Consumer",
    "Fsync",
    "Limits",
    "MachRepl",
    "MachineInfo",
    "Mux",
    "NetworkMachine",
    "NewServerFn",
    "Payload",
    "PayloadIterator",
    "PersistFailed",
    "Policy",
    "Receipt",
    "Relay",
    "RelayLoop",
    "RetryPolicy",
    "Server",
    "ServerRequest",
    "Subscriber",
    "add_err",
    "add_err_network",
    "add_err_network_timeout",
    "add_err_no_conn",
    "add_err_params",
    "add_err_resp",
    "add_err_rpc_str",
    "bind_mux",
    "bind_server",
    "bind_server_multi",
    "bind_server_rpc_ready",
    "checksum",
    "client_id",
    "list_machines",
    "mach_repl",
    "mach_repl_env",
    "pass_args",
    "pass_rpc",
]
