"""The conversation's two ends: ROUTER at the source, DEALER at the client."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence

import zmq

from amzmq.net.authenticator import NOBODY
from amzmq.net.context import ContextLease
from amzmq.net.log import callback_failed
from amzmq.net.options import SocketOptions
from amzmq.net.transport import ConnectedFn, Delivery, DrainedFn, MessageFn, PeerMessageFn
from amzmq.net.zmq_bound import Binding, ZmqBound
from amzmq.net.zmq_socket import (
    EVENTS,
    NOBLOCK,
    NOBLOCK_MORE,
    POLLIN,
    POLLOUT,
    ZmqRaw,
    ZmqSocket,
    receive_rest,
)

NO_BLOBS: tuple[bytes, ...] = ()


class ZmqRouter(ZmqBound):
    """A bound ROUTER that refuses unknown peers instead of dropping for them.

    With a gate it hears, and sends to, only those whom the gate lets in.
    """

    kind = "router"

    __slots__ = ("_drained", "_on_drained", "_on_message")

    def __init__(
        self,
        sock: ZmqRaw,
        lease: ContextLease,
        options: SocketOptions,
        on_closed: Callable[[ZmqSocket], None],
        binding: Binding,
        on_message: PeerMessageFn,
        on_drained: DrainedFn | None,
    ) -> None:
        self._on_message = on_message
        self._on_drained = on_drained
        self._drained = True
        super().__init__(sock, lease, options, on_closed, binding)

    def send(self, peer: bytes, frame: bytes, blobs: Sequence[bytes] = ()) -> Delivery:
        """Queues one message for one peer and never waits."""
        self._check(frame, *blobs)
        if self._closed or (self.gate is not None and not self.gate.user_of(peer)):
            return Delivery.GONE
        try:
            # libzmq decides on the first part: once that is taken, the others are as well.
            self._send(peer, NOBLOCK_MORE)
            _send_parts(self._send, frame, blobs)
        except zmq.Again:
            return Delivery.FULL
        except zmq.ZMQError as err:
            if err.errno == errno.EHOSTUNREACH:
                if self.gate is not None:
                    self.gate.forget(peer)
                return Delivery.GONE
            raise
        finally:
            self._drain_soon()
        return Delivery.SENT

    def user_of(self, peer: bytes) -> str:
        """The user behind a peer; "" when its connection is not secured, or has ended."""
        return NOBODY if self.gate is None else self.gate.user_of(peer)

    def _take_one(self) -> None:
        peer = self._recv(NOBLOCK)
        # A Frame knows whether more follow; asking the socket for it costs more than both.
        body = self._recv(NOBLOCK, copy=False)
        blobs = receive_rest(self._recv) if body.more else NO_BLOBS
        if self.gate is not None and not self.gate.admits(peer, body):
            return
        self._drained = False
        try:
            self._on_message(peer, body.bytes, blobs)
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "on_message")

    def _turn_over(self) -> None:
        if self._drained or self._on_drained is None:
            return
        self._drained = True
        try:
            self._on_drained()
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "on_drained")


class ZmqDealer(ZmqSocket):
    """A connecting DEALER that queues nothing for a router that is not there.

    libzmq shows "no connection" and "queue full" in the same way: the socket is not
    writable. They are told apart by what was sent. Nothing sent since it was last writable:
    the connection is gone. Otherwise, and if a full queue is possible at all by then, it gets
    some time to become writable before it is called gone.
    """

    kind = "dealer"
    looks_later = True

    __slots__ = (
        "_connected",
        "_hwm",
        "_on_connected",
        "_on_message",
        "_patience_s",
        "_patience_timer",
        "_sent_since_connected",
        "_sent_since_writable",
    )

    def __init__(
        self,
        sock: ZmqRaw,
        lease: ContextLease,
        options: SocketOptions,
        on_closed: Callable[[ZmqSocket], None],
        on_message: MessageFn,
        on_connected: ConnectedFn,
    ) -> None:
        self._on_message = on_message
        self._on_connected = on_connected
        self._connected = False
        self._hwm = options.send_hwm
        self._patience_s = options.full_ms / 1000
        self._patience_timer: asyncio.TimerHandle | None = None
        self._sent_since_connected = 0
        self._sent_since_writable = 0
        super().__init__(sock, lease, options, on_closed)

    @property
    def connected(self) -> bool:
        """Whether the router was there when last seen."""
        return self._connected

    def send(self, frame: bytes, blobs: Sequence[bytes] = ()) -> bool:
        """Queues one message; False when there is nobody to take it and nothing was queued."""
        self._check(frame, *blobs)
        if self._closed:
            return False
        try:
            _send_parts(self._send, frame, blobs)
        except zmq.Again:
            # Also when the connection ends between two parts: the earlier ones are undone.
            self._drain_soon()
            return False
        # Sending may have swallowed news. To look right now costs less than a loop turn.
        if (
            not self._drain_due
            and int(self._sock.getsockopt(EVENTS)) & (POLLIN | POLLOUT) != POLLOUT
        ):
            self._drain_soon()
        self._sent_since_connected += 1
        self._sent_since_writable += 1
        return True

    def close(self) -> None:
        """Closes the socket and reports nothing more."""
        self._stop_patience()
        self._connected = False
        super().close()

    def _take_one(self) -> None:
        body = self._recv(NOBLOCK, copy=False)
        blobs = receive_rest(self._recv) if body.more else NO_BLOBS
        try:
            self._on_message(body.bytes, blobs)
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "on_message")

    def _see(self, events: int) -> None:
        if events & POLLOUT:
            self._sent_since_writable = 0
            if self._patience_timer is not None:
                self._stop_patience()
            if not self._connected:
                self._sent_since_connected = 0
                self._report(True)
        elif events & POLLIN:
            pass  # what came before the end, a goodbye perhaps, is heard before the end is told
        elif self._connected and self._patience_timer is None:
            if self._may_be_full():
                self._patience_timer = self._loop.call_later(self._patience_s, self._give_up)
            else:
                self._report(False)

    def _may_be_full(self) -> bool:
        return 0 < self._hwm <= self._sent_since_connected and self._sent_since_writable > 0

    def _give_up(self) -> None:
        self._patience_timer = None
        if self._connected and not self._closed:
            self._report(False)

    def _stop_patience(self) -> None:
        if self._patience_timer is not None:
            self._patience_timer.cancel()
            self._patience_timer = None

    def _report(self, connected: bool) -> None:
        self._connected = connected
        try:
            self._on_connected(connected)
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "on_connected")
        if not self._closed:
            # What it sent may have swallowed the news of an answer, behind this turn's look.
            self._drain_within(0.0)


def _send_parts(send: Callable[..., object], frame: bytes, blobs: Sequence[bytes]) -> None:
    """Sends a frame, and the blobs behind it if there are any."""
    if not blobs:
        send(frame, NOBLOCK)
        return
    send(frame, NOBLOCK_MORE)
    for blob in blobs[:-1]:
        send(blob, NOBLOCK_MORE)
    send(blobs[-1], NOBLOCK)
