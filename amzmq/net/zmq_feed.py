"""The feed's two ends: XPUB at the source, SUB at the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import zmq

from amzmq.net.authenticator import NOBODY
from amzmq.net.context import ContextLease
from amzmq.net.gate import Wire
from amzmq.net.log import callback_failed, log
from amzmq.net.options import SocketOptions
from amzmq.net.transport import ConfirmFn, FrameFn, FramesFn, TopicFn
from amzmq.net.zmq_bound import Binding, ZmqBound
from amzmq.net.zmq_socket import NOBLOCK, ZmqRaw, ZmqSocket, receive_rest

SUBSCRIBE = int(zmq.SUBSCRIBE)
UNSUBSCRIBE = int(zmq.UNSUBSCRIBE)
LOOK_SECONDS = 0.005


class ZmqPublisher(ZmqBound):
    """A bound XPUB in manual mode: a subscription counts only when it was confirmed.

    Confirming goes to "the subscriber whose message was read last", which libzmq finds in a
    queue of its own. A user message (only XSUB peers send those) also takes an entry from
    that queue without having put one in, so confirmations behind it would go to a wrong
    subscriber. After garbage nothing is therefore confirmed until all that arrived is read
    and both queues are empty; such subscriptions are reported as garbage, and their senders
    have to renew them.

    With a gate only those whom it lets in are asked about.
    """

    kind = "publisher"

    __slots__ = (
        "_misaligned",
        "_on_garbage",
        "_on_subscribe",
        "_on_unsubscribe",
        "asker",
    )

    def __init__(
        self,
        sock: ZmqRaw,
        lease: ContextLease,
        options: SocketOptions,
        on_closed: Callable[[ZmqSocket], None],
        binding: Binding,
        on_subscribe: ConfirmFn,
        on_unsubscribe: TopicFn,
        on_garbage: FrameFn,
    ) -> None:
        self.asker = NOBODY
        self._on_subscribe = on_subscribe
        self._on_unsubscribe = on_unsubscribe
        self._on_garbage = on_garbage
        self._misaligned = False
        super().__init__(sock, lease, options, on_closed, binding)

    def send(self, frame: bytes) -> None:
        """Sends to every confirmed subscriber that has room; libzmq copies, we do it once."""
        if self._lease.forked or len(frame) > self._max_frame_bytes:
            self._check(frame)
        if not self._closed:
            self._send(frame, NOBLOCK)
            # Nobody minds if a subscription is read some milliseconds late, and looking at
            # EVENTS after every frame would cost more than sending it.
            self._drain_within(LOOK_SECONDS)

    def send_all(self, frames: Sequence[bytes]) -> None:
        """Sends several, in their order."""
        if len(frames) == 1:
            self.send(frames[0])
            return
        if self._lease.forked or max(map(len, frames), default=0) > self._max_frame_bytes:
            self._check(*frames)
        if not self._closed:
            send = self._send
            for frame in frames:
                send(frame, NOBLOCK)
            self._drain_within(LOOK_SECONDS)

    def _take_one(self) -> None:
        part = self._recv(NOBLOCK, copy=False)
        message = part.bytes
        kind = message[:1]
        if part.more or kind not in (b"\x00", b"\x01"):
            self._misaligned = True
            if part.more:
                receive_rest(self._recv)
            self._tell_garbage(message)
        elif kind == b"\x00":
            self._forget(message[1:])
        elif self._misaligned:
            log.warning("publisher: a subscription behind garbage is not confirmed")
            self._tell_garbage(message)
        elif self.gate is None:
            self._ask(message[1:])
        else:
            wire = Wire.of(part)
            if self.gate.admits(wire, part):
                self.asker = self.gate.user_of(wire)
                self._ask(message[1:])
                self.asker = NOBODY

    def _is_empty(self) -> None:
        self._misaligned = False

    def _ask(self, topic: bytes) -> None:
        try:
            confirmed = self._on_subscribe(topic)
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "on_subscribe")
            return
        # `is True`: an answer that is merely truthy must not open a feed.
        if confirmed is True and not self._closed:
            self._sock.setsockopt(SUBSCRIBE, topic)

    def _forget(self, topic: bytes) -> None:
        if not self._misaligned:
            self._sock.setsockopt(UNSUBSCRIBE, topic)
        try:
            self._on_unsubscribe(topic)
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "on_unsubscribe")

    def _tell_garbage(self, message: bytes) -> None:
        try:
            self._on_garbage(message)
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "on_garbage")


class ZmqSubscriber(ZmqSocket):
    """A connecting SUB; every part that arrives is a frame of its own.

    What had arrived together is handed on together: whoever reads it can be quicker about it.
    If that fails, all of it counts as lost, which the stream's numbers tell its reader.
    """

    kind = "subscriber"

    __slots__ = ("_frames", "_on_frames", "_topics")

    def __init__(
        self,
        sock: ZmqRaw,
        lease: ContextLease,
        options: SocketOptions,
        on_closed: Callable[[ZmqSocket], None],
        on_frames: FramesFn,
    ) -> None:
        self._on_frames = on_frames
        self._frames: list[bytes] = []
        self._topics: set[bytes] = set()
        super().__init__(sock, lease, options, on_closed)

    def subscribe(self, topic: bytes) -> None:
        """Asks for all frames that begin with `topic`; asking again renews."""
        self._lease.check(self.kind)
        if self._closed:
            return
        self._sock.setsockopt(SUBSCRIBE, topic)
        if topic in self._topics:
            # libzmq counts: every subscribe goes out, only the last unsubscribe does. So
            # this takes back our count, and the publisher was asked once more.
            self._sock.setsockopt(UNSUBSCRIBE, topic)
        self._topics.add(topic)
        self._drain_soon()

    def unsubscribe(self, topic: bytes) -> None:
        """Ends a subscription; a topic never asked for is ignored."""
        self._lease.check(self.kind)
        if self._closed or topic not in self._topics:
            return
        self._topics.discard(topic)
        self._sock.setsockopt(UNSUBSCRIBE, topic)
        self._drain_soon()

    def _take_one(self) -> None:
        # A frame is a message: asking whether more parts follow would cost three times the
        # receive. Who sends several parts sends garbage, which its reader finds out.
        self._frames.append(self._recv(NOBLOCK))

    def _take_burst(self, count: int) -> None:
        receive, append = self._recv, self._frames.append
        for _ in range(count):
            append(receive(NOBLOCK))

    def _turn_over(self) -> None:
        if not self._frames:
            return
        frames, self._frames = self._frames, []
        try:
            self._on_frames(frames)
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "on_frames")
