"""Ready-made schemas: the ones to build on, and those of the rpc parts."""

from amzmq.states.basic import BasicStates
from amzmq.states.connected import ConnectedStates
from amzmq.states.connpool import ConnPoolStates, add_err_connecting
from amzmq.states.consumer import ConsumerStates
from amzmq.states.disposed import (
    DisposalCallback,
    DisposedArgHandler,
    DisposedHandlers,
    DisposedStates,
)
from amzmq.states.rpc import ClientStates, MuxStates, ServerStates, SharedStates
from amzmq.states.source import NetSourceStates, StateSourceStates

__all__ = [
    "BasicStates",
    "ClientStates",
    "ConnPoolStates",
    "ConnectedStates",
    "ConsumerStates",
    "DisposalCallback",
    "DisposedArgHandler",
    "DisposedHandlers",
    "DisposedStates",
    "MuxStates",
    "NetSourceStates",
    "ServerStates",
    "SharedStates",
    "StateSourceStates",
    "add_err_connecting",
]
