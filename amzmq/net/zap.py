"""The one whom libzmq asks about every new connection to a secured socket (ZeroMQ RFC 27).

libzmq knows one address for that in a context. With ZAP_ENFORCE_DOMAIN nobody gets in while
there is no answer; without that option everybody would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import zmq
from zmq.utils import z85

from amzmq.net.authenticator import NOBODY, Authenticator
from amzmq.net.context import ContextLease
from amzmq.net.curve import CurveCounts
from amzmq.net.log import callback_failed, log
from amzmq.net.options import SocketOptions
from amzmq.net.zmq_socket import NOBLOCK, NOBLOCK_MORE, ZmqRaw, ZmqSocket, receive_rest

ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN = b"amzmq"

_VERSION = b"1.0"
_KEY_BYTES = 32
_REQUEST_PARTS = 6

_YES = b"200"
# "Try again later": the peer is not told anything, is hung up on once its time for the handshake
# is over, and tries again. After a 400 libzmq would give up for good, so that a key which is
# allowed a moment later would not help whoever waits for it.
_NO = b"300"


class ZapHandler(ZmqSocket):
    """Answers with the authenticator's opinion; the user id of an accepted peer is its key."""

    kind = "zap"

    __slots__ = ("_authenticator", "_counts")

    def __init__(
        self,
        sock: ZmqRaw,
        lease: ContextLease,
        options: SocketOptions,
        on_closed: Callable[[ZmqSocket], None],
        authenticator: Authenticator,
        counts: CurveCounts,
    ) -> None:
        self._authenticator = authenticator
        self._counts = counts
        super().__init__(sock, lease, options, on_closed)

    def _take_one(self) -> None:
        first = self._recv(NOBLOCK, copy=False)
        request = (first.bytes, *(receive_rest(self._recv) if first.more else ()))
        key = NOBODY
        try:
            key = self._allowed_key(request)
        except (Exception, asyncio.CancelledError):
            callback_failed(self.kind, "the authenticator")
        self._answer(request[1] if len(request) > 1 else b"", key)

    def _allowed_key(self, request: Sequence[bytes]) -> str:
        """The peer's key in Z85 if it may connect."""
        if len(request) < _REQUEST_PARTS:
            log.error("zap: a request of %d parts, %d needed", len(request), _REQUEST_PARTS)
            return NOBODY
        _, _, domain, address, _, mechanism, *credentials = request
        if domain != DOMAIN or mechanism != b"CURVE" or len(credentials) != 1:
            log.error("zap: %s asks for %r in domain %r", address, mechanism, domain)
            return NOBODY
        if len(credentials[0]) != _KEY_BYTES:
            log.error("zap: %s has a key of %d bytes", address, len(credentials[0]))
            return NOBODY
        key = z85.encode(credentials[0]).decode("ascii")
        if self._authenticator.user(key) == NOBODY:
            self._tell_refused(key, address.decode("ascii", "replace"))
            return NOBODY
        self._counts.accepted += 1
        return key

    def _tell_refused(self, key: str, address: str) -> None:
        refused = self._counts.refused = self._counts.refused + 1
        # At 1, 2, 4, 8...: who is refused tries again for ever, and the log is not theirs to fill.
        if refused & (refused - 1) == 0:
            log.warning(
                "zap: key %s at %s may not connect; refused so far: %d", key, address, refused
            )

    def _answer(self, request_id: bytes, key: str) -> None:
        code, text = (_YES, b"OK") if key else (_NO, b"no access")
        for part in (_VERSION, request_id, code, text, key.encode("ascii")):
            self._send(part, NOBLOCK_MORE)
        self._send(b"", NOBLOCK)  # no metadata


def require_zap(sock: ZmqRaw) -> None:
    """Lets nobody connect to a socket who was not asked about."""
    sock.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    sock.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
