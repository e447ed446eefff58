"""What becomes of connections before anything is said on them: libzmq tells only a monitor.

libzmq's thread waits for room in a monitor that nobody reads, and whoever closes the socket then
waits for that thread. Hence a monitor's queue has no bound, it is there before the socket is bound,
and the socket has no monitor any more when this end is closed.

Two events that would fit are left alone. HANDSHAKE_FAILED_PROTOCOL comes also when CURVE finds a
changed message, and libzmq 4.3.5 then does not end the connection, as it does without a monitor.
ACCEPT_FAILED comes without end while the process has no descriptor left.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from amzmq.net.context import ContextLease
from amzmq.net.options import SocketOptions
from amzmq.net.zmq_socket import NOBLOCK, ZmqRaw, ZmqSocket

ACCEPTED = int(zmq.EVENT_ACCEPTED)
SUCCEEDED = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
UNFINISHED = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)

_EVENT = struct.Struct("=HI")
_numbers = itertools.count(1)


@dataclass(slots=True)
class HandshakeCounts:
    """What became of connections; only ever grows.

    Those that were accepted and neither succeeded nor are unfinished spoke another language than
    ZMTP or another mechanism, have a key that may not connect, or are at it.

    Attributes:
        accepted: Connections.
        succeeded: Handshakes.
        unfinished: Handshakes that the peer left, or that took longer than `handshake_ms`.
    """

    accepted: int = 0
    succeeded: int = 0
    unfinished: int = 0

    def metrics(self) -> dict[str, int]:
        """The counters, by names that say what they are of."""
        return {
            "connections_accepted": self.accepted,
            "handshakes_succeeded": self.succeeded,
            "handshakes_unfinished": self.unfinished,
        }


class HandshakeMonitor(ZmqSocket):
    """Counts the handshakes of one socket that is going to be bound.

    Args:
        watched: The socket.
        sock: A new PAIR.
        lease, options, on_closed: As of all sockets.
        counts: Where they are counted.
    """

    kind = "monitor"

    __slots__ = ("_counts", "_watched")

    def __init__(
        self,
        watched: ZmqRaw,
        sock: ZmqRaw,
        lease: ContextLease,
        options: SocketOptions,
        on_closed: Callable[[ZmqSocket], None],
        counts: HandshakeCounts,
    ) -> None:
        self._watched = watched
        self._counts = counts
        endpoint = f"inproc://amzmq-handshakes-{next(_numbers)}"
        sock.setsockopt(zmq.RCVHWM, 0)
        watched.monitor(endpoint, ACCEPTED | SUCCEEDED | UNFINISHED)
        sock.connect(endpoint)
        super().__init__(sock, lease, options, on_closed)

    def close(self) -> None:
        """Ends it; before the socket that is watched."""
        if not (self._closed or self._lease.forked or self._watched.closed):
            self._watched.disable_monitor()
        super().close()

    def _take_one(self) -> None:
        kind, _ = _EVENT.unpack(self._recv(NOBLOCK))
        self._recv(NOBLOCK)  # the address that it came to
        if kind == ACCEPTED:
            self._counts.accepted += 1
        elif kind == SUCCEEDED:
            self._counts.succeeded += 1
        elif kind == UNFINISHED:
            self._counts.unfinished += 1
