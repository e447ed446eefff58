"""Sockets on the event loop, behind one seam with two fillings: ZeroMQ and memory.

Start at `transport` for what the other rooms see. `ZmqTransport` carries frames between
processes; `MemoryNetwork` carries them inside one, and loses them when a test wants it to.
"""

from __future__ import annotations

from amzmq.net.authenticator import AnyKey, Authenticator, KeyCallback, KeyDirectory
from amzmq.net.curve import CurveCounts, Insecure
from amzmq.net.faults import FaultCounts, RandomFaults
from amzmq.net.handshakes import HandshakeCounts
from amzmq.net.keys import KeyFileError, KeyInvalid, Keys
from amzmq.net.memory import MemoryNetwork, MemoryTransport
from amzmq.net.options import SocketOptions
from amzmq.net.traffic import Direction, TrafficMeter
from amzmq.net.transport import Dealer, Delivery, Publisher, Router, Subscriber, Transport
from amzmq.net.zmq_transport import ZmqTransport

__all__ = [
    "AnyKey",
    "Authenticator",
    "CurveCounts",
    "Dealer",
    "Delivery",
    "Direction",
    "FaultCounts",
    "HandshakeCounts",
    "Insecure",
    "KeyCallback",
    "KeyDirectory",
    "KeyFileError",
    "KeyInvalid",
    "Keys",
    "MemoryNetwork",
    "MemoryTransport",
    "Publisher",
    "RandomFaults",
    "Router",
    "SocketOptions",
    "Subscriber",
    "TrafficMeter",
    "Transport",
    "ZmqTransport",
]
