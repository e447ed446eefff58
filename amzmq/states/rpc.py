"""The machines of the rpc parts: what a Client, a Server and a Mux tell of themselves.

Spec rpc 2.2 to 2.4, without the states of the reference's WebSocket tunnel.
"""

from __future__ import annotations

from amzmq.machine.schema import State
from amzmq.states.basic import BasicStates
from amzmq.states.connected import ConnectedStates
from amzmq.states.source import StateSourceStates

_CONNECTION = ("Connecting", "Connected", "Disconnecting", "Disconnected")
_RPC = ("RpcStarting", "RpcAccepting", "RpcReady")


class SharedStates(BasicStates, StateSourceStates):
    """What client and server have in common."""

    ErrNetwork = State(require="Exception")
    ErrNetworkTimeout = State(require="Exception")
    ErrRpc = State(require="Exception")
    ErrDelivery = State(require="Exception")
    Handshaking = State(require="Start", remove="HandshakeDone")
    HandshakeDone = State(require="Start", remove="Handshaking")


class ServerStates(SharedStates):
    """One client's server.

    RpcStarting, RpcAccepting and RpcReady follow each other; ClientConnected, Handshaking and
    HandshakeDone tell of the client; Ready is both.
    """

    Ready = State(auto=True, require=["HandshakeDone", "RpcReady"])
    RpcStarting = State(require="Start", remove=_RPC)
    RpcAccepting = State(require="Start", remove=_RPC)
    RpcReady = State(require="Start", remove=_RPC)
    ClientConnected = State(require=RpcReady)
    HandshakeDone = State(require=["Start", "ClientConnected"], remove=["Handshaking", "Exception"])
    MetricSync = State(multi=True)
    ErrNetwork = State(require="Exception", remove=ClientConnected)
    Start = State(add=RpcStarting)


class ClientStates(SharedStates, ConnectedStates):
    """A client.

    RetryingConn and RetryingCall tell that it tries again, ConnRetryFailed and CallRetryFailed
    that it gave up. Stale tells that a relay on the way has lost its own source. Errors are
    transient: see their ticks, or `err()`.
    """

    RetryingCall = State(require="Start")
    CallRetryFailed = State(add=["ErrNetwork", "Exception"], remove=RetryingCall)
    RetryingConn = State(require="Start")
    ConnRetryFailed = State(remove="Start")
    Ready = State(auto=True, require="HandshakeDone")
    HandshakeDone = State(require=["Start", "Connected"], remove="Handshaking")
    WorkerDelivering = State(multi=True, require="Connected")
    WorkerPayload = State(multi=True, require="Connected")
    MetricSync = State(multi=True)
    Handshaking = State(require=["Start", "Connected"], remove="HandshakeDone")
    ErrNetwork = State(require="Exception", remove="Connecting")
    Start = State(add="Connecting", remove=ConnRetryFailed)
    Connected = State(require="Start", add=Handshaking, remove=[RetryingConn, *_CONNECTION])
    Stale = State(require="Ready")


class MuxStates(BasicStates):
    """A mux.

    ClientConnected ticks for every client that came, HasClients holds while any is there.
    """

    Exception = State(multi=True, remove="Ready")
    ClientConnected = State(multi=True, require="Start")
    HasClients = State(require="Start")
    NewServerErr = State()
