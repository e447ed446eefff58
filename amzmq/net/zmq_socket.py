"""A ZeroMQ socket drained from its file descriptor, one plain callback a message.

`zmq.asyncio` spends a Future, several socket options and a loop turn on every message. Here
the loop watches the socket's descriptor and everything that is there is read at once.

The descriptor is edge-triggered: it becomes readable when libzmq has news, and any call on
the socket (a send, an option) may swallow that news. Hence three rules, all kept in this
class: after waking, read until EVENTS says there is nothing; after using the socket, look at
EVENTS again in the next loop turn; never wait for the descriptor anywhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import zmq

from amzmq.errors import FrameTooLarge
from amzmq.net.context import ContextLease
from amzmq.net.log import log
from amzmq.net.options import SocketOptions

ZmqRaw: TypeAlias = "zmq.Socket[bytes]"

# pyzmq's constants are enums, and `|` on them costs more than receiving a message.
NOBLOCK = int(zmq.NOBLOCK)
NOBLOCK_MORE = int(zmq.NOBLOCK) | int(zmq.SNDMORE)
POLLIN = int(zmq.POLLIN)
POLLOUT = int(zmq.POLLOUT)
EVENTS = int(zmq.EVENTS)

# One turn of one socket: so many messages or so long, then the rest of the loop has its turn.
BUDGET_MESSAGES = 256
BUDGET_SECONDS = 0.002
# EVENTS costs 2 us and a failing receive 5 us, a successful one 1 us. So a single message is
# read between two looks at EVENTS, and only when there is more than one are they read on.
BURST = 32


class ZmqSocket:
    """What all kinds of socket share: the drain, the close, the fork check."""

    kind = "socket"
    # Whether whoever waits for the first message goes on before EVENTS is looked at again.
    looks_later = False

    __slots__ = (
        "_closed",
        "_drain_due",
        "_fd",
        "_lease",
        "_loop",
        "_max_frame_bytes",
        "_on_closed",
        "_reading",
        "_recv",
        "_send",
        "_sock",
    )

    def __init__(
        self,
        sock: ZmqRaw,
        lease: ContextLease,
        options: SocketOptions,
        on_closed: Callable[[ZmqSocket], None],
    ) -> None:
        self._sock = sock
        self._lease = lease
        self._max_frame_bytes = options.max_frame_bytes
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._drain_due = False
        self._reading = False
        self._recv = sock.recv
        # The plain send under the one that looks for draft options first, at half the cost.
        self._send = super(zmq.Socket, sock).send
        self._fd = int(sock.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._woken)
        # Its first edge may be over already. Not now: our maker does not hold us yet.
        self._drain_soon()

    async def let_go(self) -> None:
        """Frees the address that the socket is bound to, if it is; its connections go on."""

    def close(self) -> None:
        """Closes the socket; closing again, or inside a callback, is fine."""
        if self._closed:
            return
        self._closed = True
        self._on_closed(self)
        if self._lease.forked:
            # Both the loop's epoll set and the connection are the parent's: removing the
            # descriptor here would deafen the parent.
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        self._sock.close()

    def _is_closed(self) -> bool:
        """Asked after callbacks ran, where a type checker thinks it knows."""
        return self._closed

    def _take_one(self) -> None:
        """Receives one whole message and hands it on; raises zmq.Again when there is none."""
        raise NotImplementedError

    def _take_burst(self, count: int) -> None:
        """Receives so many; raises zmq.Again when there are fewer."""
        for _ in range(count):
            self._take_one()

    def _see(self, events: int) -> None:
        """Looks at each EVENTS value that was read."""

    def _is_empty(self) -> None:
        """Everything that had arrived was read."""

    def _turn_over(self) -> None:
        """This turn's reading has ended."""

    def _check(self, *frames: bytes) -> None:
        """Before sending: not in a forked child, and nothing the peer would hang up on."""
        self._lease.check(self.kind)
        for frame in frames:
            if len(frame) > self._max_frame_bytes:
                raise FrameTooLarge(
                    f"a frame of {len(frame)} bytes is over the limit of "
                    f"{self._max_frame_bytes} (max_frame_bytes); the peer would hang up"
                )

    def _drain_soon(self) -> None:
        """Looks at EVENTS again in the next turn, once, however often the socket was used.

        While reading that is not needed: reading ends with a look.
        """
        if not self._drain_due and not self._reading:
            self._drain_due = True
            self._loop.call_soon(self._drain_now)

    def _drain_within(self, seconds: float) -> None:
        """Looks at EVENTS again a little later, once, however often the socket was used."""
        if not self._drain_due:
            self._drain_due = True
            self._loop.call_later(seconds, self._drain_now)

    def _woken(self) -> None:
        """The descriptor has news: nearly always a message, so reading comes before looking."""
        self._drain(eager=True)

    def _drain_now(self) -> None:
        self._drain_due = False
        self._drain(eager=False)

    def _drain(self, eager: bool) -> None:
        if self._closed or self._lease.forked:
            return
        self._reading = True
        if eager and self.looks_later:
            self._drain_one()
            return
        again = True  # if a callback ends the program, whoever survives that still reads
        try:
            if eager:
                self._read_first()
            again = self._read_all()
            self._reading = False  # what is sent from here on is behind the last look
            self._turn_over()
        except zmq.ZMQError as err:
            again = False
            # A callback that closed us ends the reading here: the next call on the socket
            # fails. That spares a look at `_closed` after every message.
            if not self._is_closed():
                log.error("%s: closed, its socket failed: %s", self.kind, err)
                self.close()
        finally:
            self._reading = False
            if again:
                self._drain_soon()

    def _drain_one(self) -> None:
        """Reads one message, and looks for more behind what it has set going."""
        try:
            self._read_first()
        except zmq.ZMQError as err:
            if not self._is_closed():
                log.error("%s: closed, its socket failed: %s", self.kind, err)
                self.close()
        finally:
            self._reading = False
            self._drain_soon()

    def _read_first(self) -> None:
        """Reads one message and lets it be answered, before anything else is asked."""
        try:
            self._take_one()
        except zmq.Again:
            return  # news of another kind; the look that follows sees them
        self._turn_over()

    def _read_all(self) -> bool:
        """Reads until there is nothing or the turn is over; whether there may be more."""
        events_of = self._sock.getsockopt
        left = BUDGET_MESSAGES
        until = 0.0
        burst = 1
        while True:
            events = int(events_of(EVENTS))
            self._see(events)
            if not events & POLLIN:
                self._is_empty()
                return False
            if until == 0.0:
                until = self._loop.time() + BUDGET_SECONDS
            elif left <= 0 or self._loop.time() >= until:
                return True
            try:
                self._take_burst(burst)
            except zmq.Again:
                self._is_empty()
            left -= burst
            burst = BURST


def receive_rest(recv: Callable[..., zmq.Frame]) -> tuple[bytes, ...]:
    """Receives the parts that are left of a message."""
    parts: list[bytes] = []
    more = True
    while more:
        part = recv(NOBLOCK, copy=False)
        parts.append(part.bytes)
        more = part.more
    return tuple(parts)
