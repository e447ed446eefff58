"""What the two sockets that others connect to have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amzmq.net.context import ContextLease
from amzmq.net.gate import Gate
from amzmq.net.handshakes import HandshakeMonitor
from amzmq.net.options import SocketOptions
from amzmq.net.unbinding import unbind
from amzmq.net.zmq_socket import ZmqRaw, ZmqSocket


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a socket is bound, and who watches over it.

    Attributes:
        endpoint: Its real address.
        monitor: Counts those who connect, and those who fail to.
        gate: Knows who is behind a connection, if that is secured.
    """

    endpoint: str
    monitor: HandshakeMonitor
    gate: Gate | None


class ZmqBound(ZmqSocket):
    """A bound socket; its monitor is closed with it."""

    __slots__ = ("_monitor", "endpoint", "gate")

    def __init__(
        self,
        sock: ZmqRaw,
        lease: ContextLease,
        options: SocketOptions,
        on_closed: Callable[[ZmqSocket], None],
        binding: Binding,
    ) -> None:
        self.endpoint = binding.endpoint
        self.gate = binding.gate
        self._monitor = binding.monitor
        super().__init__(sock, lease, options, on_closed)

    async def let_go(self) -> None:
        """Frees the address, so that somebody else may bind it at once."""
        self._monitor.close()
        if not (self._closed or self._lease.forked):
            await unbind(self._lease.context, self._sock, self.endpoint)

    def close(self) -> None:
        """Closes the socket; closing again, or inside a callback, is fine."""
        self._monitor.close()
        super().close()
