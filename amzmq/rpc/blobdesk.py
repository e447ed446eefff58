"""The seam between those who ask for chunks of blobs and what answers them.

A source answers from what it offers (`blobs.blobstore`), whoever serves a replica again by asking
further up (`blobs.transit`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from amzmq.wire.control import Chunk, Fetch, Refusal, RefusalCode

ClientKey: TypeAlias = tuple[str, bytes, str]
"""Who a client is: its machine's id, which incarnation of it, and its user."""

SendFn: TypeAlias = Callable[[Chunk | Refusal, Sequence[bytes]], bool]
"""Sends a message, and the bytes behind it, to one client; False if it was not taken."""


class BlobDesk(Protocol):
    """Answers those who ask for chunks."""

    def on_fetch(
        self, client: ClientKey, fetch: Fetch, send: SendFn, understood: Sequence[str] = ()
    ) -> None:
        """A client asks for chunks, or says that it has all of them.

        Args:
            client: Who.
            fetch: What it said.
            send: How to answer it.
            understood: The encodings that it can read.
        """

    def forget(self, client: ClientKey) -> None:
        """A client is gone: what it asked for is not sent."""


def refuse(
    send: SendFn, token: bytes, reason: str, code: RefusalCode = RefusalCode.BLOB_UNKNOWN
) -> None:
    """Tell a client that it will not get a blob."""
    send(Refusal(0, code, reason, token), ())
