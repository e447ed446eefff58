"""The transport between processes: makes ZeroMQ sockets, sets their options, ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from amzmq.errors import NetError
from amzmq.net import addresses
from amzmq.net.authenticator import Authenticator, AuthenticatorLike
from amzmq.net.context import ContextLease, acquire_context
from amzmq.net.curve import Curve, CurveCounts
from amzmq.net.gate import Gate
from amzmq.net.handshakes import HandshakeCounts, HandshakeMonitor
from amzmq.net.keys import Keys, PathLike
from amzmq.net.options import SocketOptions
from amzmq.net.transport import (
    ConfirmFn,
    ConnectedFn,
    DrainedFn,
    FrameFn,
    FramesFn,
    MessageFn,
    PeerMessageFn,
    TopicFn,
)
from amzmq.net.zap import ENDPOINT, ZapHandler, require_zap
from amzmq.net.zmq_bound import Binding
from amzmq.net.zmq_conversation import ZmqDealer, ZmqRouter
from amzmq.net.zmq_feed import ZmqPublisher, ZmqSubscriber
from amzmq.net.zmq_socket import ZmqRaw, ZmqSocket

# Beyond lingering, ending a context is a few thread switches; this is for a loaded machine.
TERMINATION_SLACK_S = 2.0


class ZmqTransport:
    """Sockets on the running asyncio loop. Create and use it on that loop's thread.

    Args:
        options: Limits and timings of all its sockets.
        curve: Its own keys; with them, everything that it opens is encrypted.
        server_key: The public key of the source to connect to: raw, Z85, or a file's path.
        authenticator: Who may connect to what it binds: the path of a directory of ``*.pub``
            files, a function that gets a public key, or an `Authenticator`.
        curve_required: Refuse to open anything that is not secured, on this host as well.
        insecure: Bind addresses that others than this host reach, although nothing secures them.

    Attributes:
        counts: What became of those who wanted to connect to what is secured.
        handshakes: What became of connections, at all that it binds.

    Raises:
        KeyFileError: A key's file cannot be read.
        KeyInvalid: A key is none.
    """

    __slots__ = (
        "_closed", "_curve", "_lease", "_open", "_options", "_recheck_timer", "counts",
        "handshakes",
    )  # fmt: skip

    def __init__(
        self,
        options: SocketOptions | None = None,
        *,
        curve: Keys | None = None,
        server_key: bytes | PathLike | None = None,
        authenticator: AuthenticatorLike | None = None,
        curve_required: bool = False,
        insecure: bool = False,
    ) -> None:
        self._options = options or SocketOptions()
        self._curve = Curve(curve, server_key, authenticator, curve_required, insecure)
        self.counts = CurveCounts()
        self.handshakes = HandshakeCounts()
        self._recheck_timer: asyncio.TimerHandle | None = None
        self._lease: ContextLease | None = None
        self._open: set[ZmqSocket] = set()
        self._closed = False

    @property
    def max_frame_bytes(self) -> int:
        """The largest frame that may be sent."""
        return self._options.max_frame_bytes

    def router(
        self, endpoint: str, on_message: PeerMessageFn, on_drained: DrainedFn | None = None
    ) -> ZmqRouter:
        """Binds a router."""
        with self._new(zmq.ROUTER) as (sock, lease):
            sock.setsockopt(zmq.ROUTER_MANDATORY, 1)
            binding = self._bind(sock, endpoint, ZmqRouter.kind)
            router = ZmqRouter(
                sock, lease, self._options, self._open.discard, binding, on_message, on_drained
            )
        self._open.add(router)
        return router

    def publisher(
        self,
        endpoint: str,
        on_subscribe: ConfirmFn,
        on_unsubscribe: TopicFn,
        on_garbage: FrameFn,
    ) -> ZmqPublisher:
        """Binds a publisher that asks `on_subscribe` for every subscription."""
        with self._new(zmq.XPUB) as (sock, lease):
            sock.setsockopt(zmq.XPUB_MANUAL, 1)
            binding = self._bind(sock, endpoint, ZmqPublisher.kind)
            publisher = ZmqPublisher(
                sock,
                lease,
                self._options,
                self._open.discard,
                binding,
                on_subscribe,
                on_unsubscribe,
                on_garbage,
            )
        self._open.add(publisher)
        return publisher

    def dealer(self, endpoint: str, on_message: MessageFn, on_connected: ConnectedFn) -> ZmqDealer:
        """Connects a dealer."""
        with self._new(zmq.DEALER) as (sock, lease):
            # Queue only for completed connections: a send to nobody fails instead of waiting.
            sock.setsockopt(zmq.IMMEDIATE, 1)
            self._curve.before_connect(sock, endpoint)
            addresses.connect(sock, endpoint)
            dealer = ZmqDealer(
                sock, lease, self._options, self._open.discard, on_message, on_connected
            )
        self._open.add(dealer)
        return dealer

    def subscriber(self, endpoint: str, on_frames: FramesFn) -> ZmqSubscriber:
        """Connects a subscriber."""
        with self._new(zmq.SUB) as (sock, lease):
            self._curve.before_connect(sock, endpoint)
            addresses.connect(sock, endpoint)
            subscriber = ZmqSubscriber(sock, lease, self._options, self._open.discard, on_frames)
        self._open.add(subscriber)
        return subscriber

    def end_user(self, user: str) -> int:
        """Ends all connections of a user, who may connect again if still allowed.

        For a user whose rights have changed. One who may not connect any more needs no call.

        Returns:
            How many connections there were.
        """
        if self._lease is not None:
            self._lease.check("ZmqTransport")
        return sum(gate.end(user) for gate in self._gates())

    async def close(self) -> None:
        """Closes what is open; the last transport of a process ends the context as well."""
        self._closed = True
        if self._recheck_timer is not None:
            self._recheck_timer.cancel()
        try:
            for sock in tuple(self._open):
                await sock.let_go()
        finally:
            for sock in tuple(self._open):
                sock.close()
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.release(self._options.linger_ms / 1000 + TERMINATION_SLACK_S)

    @contextmanager
    def _new(self, kind: zmq.SocketType) -> Iterator[tuple[ZmqRaw, ContextLease]]:
        """A raw socket with its options set, closed again if the caller's block fails."""
        if self._closed:
            raise NetError("this transport is closed; make a new one")
        if self._lease is None:
            self._lease = acquire_context(alone=self._curve.authenticator is not None)
        self._lease.check("ZmqTransport")
        try:
            sock = self._lease.context.socket(kind)
        except zmq.ZMQError as err:
            raise NetError(f"no socket could be made: {err.strerror}") from None
        try:
            _apply(sock, self._options)
            yield sock, self._lease
        except BaseException:
            sock.close(0)
            raise

    def _bind(self, sock: ZmqRaw, endpoint: str, kind: str) -> Binding:
        """Binds a socket, with a monitor, and with a gate if it is secured."""
        self._curve.before_bind(sock, endpoint)
        authenticator = self._curve.authenticator
        if authenticator is not None:
            if self._recheck_timer is None:
                self._begin_asking(authenticator)
            require_zap(sock)
        with self._new(zmq.PAIR) as (pair, lease):
            monitor = HandshakeMonitor(
                sock, pair, lease, self._options, self._open.discard, self.handshakes
            )
        self._open.add(monitor)
        try:
            real = addresses.bind(sock, endpoint)
        except BaseException:
            monitor.close()
            raise
        gate = None
        if authenticator is not None:
            gate = Gate(kind, real, authenticator, self.counts)
        return Binding(real, monitor, gate)

    def _begin_asking(self, authenticator: Authenticator) -> None:
        """Answers libzmq's questions about new connections, and looks after the old ones."""
        with self._new(zmq.REP) as (sock, lease):
            sock.bind(ENDPOINT)
            handler = ZapHandler(
                sock, lease, self._options, self._open.discard, authenticator, self.counts
            )
        self._open.add(handler)
        loop = asyncio.get_running_loop()
        interval = self._options.recheck_ms / 1000

        def recheck() -> None:
            if lease.forked:
                return  # the connections are the parent's
            self._recheck_timer = loop.call_later(interval, recheck)
            if authenticator.reload():
                for gate in self._gates():
                    gate.recheck()

        self._recheck_timer = loop.call_later(interval, recheck)

    def _gates(self) -> list[Gate]:
        return [
            sock.gate
            for sock in self._open
            if isinstance(sock, ZmqRouter | ZmqPublisher) and sock.gate is not None
        ]


def _apply(sock: ZmqRaw, options: SocketOptions) -> None:
    values = {
        zmq.SNDHWM: options.send_hwm,
        zmq.RCVHWM: options.receive_hwm,
        zmq.LINGER: options.linger_ms,
        zmq.MAXMSGSIZE: options.max_frame_bytes,
        zmq.HEARTBEAT_IVL: options.heartbeat_interval_ms,
        zmq.HEARTBEAT_TIMEOUT: options.heartbeat_timeout_ms,
        zmq.HANDSHAKE_IVL: options.handshake_ms,
        zmq.RECONNECT_IVL: options.reconnect_ms,
        zmq.RECONNECT_IVL_MAX: options.reconnect_max_ms,
        zmq.SNDBUF: options.send_buffer_bytes,
        zmq.RCVBUF: options.receive_buffer_bytes,
        zmq.IPV6: int(options.ipv6),
    }
    try:
        for option, value in values.items():
            if value is not None:
                sock.setsockopt(option, value)
    except zmq.ZMQError as err:
        raise NetError(f"{option.name}={value} is refused: {err.strerror}") from None
