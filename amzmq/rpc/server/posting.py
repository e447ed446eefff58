"""A payload on its way from the sender to the loop that sends it."""

from __future__ import annotations

import secrets

from amzmq.errors import AmzmqError
from amzmq.rpc.server.feed import Feed
from amzmq.rpc.server.receipt import Receipt
from amzmq.rpc.server.server import Server
from amzmq.wire.codec import Value


class Posting:
    """One payload to be sent.

    Args:
        target: The feed of a machine, for everybody, or the server of one client.
        name: Which kind of payload.
        data: What it holds.
        source_tx: Id of the transition it is sent from; "" if from none.
        blob: Facts of a blob that can be fetched; None for a payload that is complete.
        token: Unique to it; random if empty.

    Attributes:
        receipt: Tells its sender what became of it.
    """

    def __init__(
        self,
        target: Feed | Server,
        name: str,
        data: Value,
        source_tx: str = "",
        blob: list[Value] | None = None,
        token: bytes = b"",
    ) -> None:
        self.data = data
        destination = target.client.name if isinstance(target, Server) else ""
        self.receipt = Receipt(token or secrets.token_bytes(8), name, destination)
        self._target = target
        self._source_tx = source_tx
        self._blob = blob

    def send(self) -> None:
        """Send it; on the event loop's thread.

        Raises:
            InvalidArgs: The data has no form on the wire.
            FrameTooLarge: It is larger than a frame may be.
            LimitExceeded: The client leaves too many unconfirmed.
        """
        receipt = self.receipt
        if isinstance(self._target, Server):
            self._target.send_payload(receipt, self.data, self._source_tx, self._blob)
        else:
            self._target.send_payload(
                receipt.name, self.data, receipt.token, self._source_tx, self._blob
            )
            receipt.taken()

    def try_to_send(self) -> None:
        """Send it for a caller on another thread, who hears of errors by the receipt."""
        try:
            self.send()
        except AmzmqError as error:
            self.receipt.failed(str(error))
