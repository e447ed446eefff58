"""Payloads for one client that it has not confirmed yet (spec rpc 8)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amzmq.rpc.server.limits import Guard, Limits
from amzmq.rpc.server.receipt import Receipt
from amzmq.wire.codec import Value
from amzmq.wire.control import Directed, Message

_log = logging.getLogger("amzmq.server")

OUTBOX_LIMIT = Limits().outbox
"""Payloads a client may leave unconfirmed by default before further ones are refused."""


@dataclass(slots=True)
class _Posted:
    message: Directed
    receipt: Receipt
    sent_at: float


class Outbox:
    """Keeps what was sent until it is confirmed, sends it again when it is not.

    Args:
        client: The client's id, for errors.
        send: Sends a message to it.
        clock: The loop's time in seconds.
        guard: Knows how many may be unconfirmed.

    Attributes:
        failed: Payloads that the client could make no use of.
    """

    def __init__(
        self,
        client: str,
        send: Callable[[Message], None],
        clock: Callable[[], float],
        guard: Guard,
    ) -> None:
        self.failed = 0
        self._guard = guard
        self._client = client
        self._send = send
        self._clock = clock
        self._posted: OrderedDict[int, _Posted] = OrderedDict()
        self._last = 0

    def __len__(self) -> int:
        return len(self._posted)

    def take_over(self, older: Outbox) -> None:
        """Go on where an older connection of the same client was."""
        self._posted = older._posted
        self._last = older._last
        self.failed = older.failed

    def post(
        self,
        receipt: Receipt,
        after: int,
        data: Value,
        source_tx: str,
        blob: list[Value] | None,
        source: str,
    ) -> None:
        """Send a payload, to be used once message `after` of the stream is applied.

        Raises:
            InvalidArgs: `data` has no form on the wire; nothing was sent.
            LimitExceeded: Too many are unconfirmed; likewise.
        """
        if len(self._posted) >= self._guard.limits.outbox:
            text = f"{self._client} has not confirmed {len(self._posted)} payloads"
            raise self._guard.exceeded("outbox", text, "wait for it")
        name, token = receipt.name, receipt.token
        message = Directed(self._last + 1, after, name, data, token, source_tx, blob, source)
        self._send(message)
        self._last += 1
        self._posted[self._last] = _Posted(message, receipt, self._clock())

    def resend(self, older_than: float | None = None) -> None:
        """Send again what was sent before `older_than`, or everything."""
        now = self._clock()
        for posted in list(self._posted.values()):
            if older_than is None or posted.sent_at < older_than:
                posted.sent_at = now
                self._send(posted.message)

    def acknowledge(self, ordinal: int, failed: Sequence[Value]) -> None:
        """All up to `ordinal` have arrived; `failed` has [ordinal, reason] of the useless."""
        reasons = {
            item[0]: str(item[1])
            for item in failed
            if isinstance(item, list) and len(item) > 1 and type(item[0]) is int
        }
        for number in [number for number in self._posted if number <= ordinal]:
            posted = self._posted.pop(number)
            if number in reasons:
                self._count(posted, reasons[number])
            else:
                posted.receipt.taken()

    def give_up(self, reason: str = "it left before it confirmed the payload") -> None:
        """The client will not come back, or may not have them."""
        posted, self._posted = self._posted, OrderedDict()
        for item in posted.values():
            self._count(item, reason)

    def _count(self, posted: _Posted, reason: str) -> None:
        self.failed += 1
        _log.warning("payload %r for %s: %s", posted.message.name, self._client, reason)
        posted.receipt.failed(reason)
