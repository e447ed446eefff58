"""Blobs in calls that block: who reads one, and who offers it."""

from __future__ import annotations

from pathlib import Path

from amzmq.blocking.line import Line
from amzmq.blocking.taking import Taker, TwinIterator
from amzmq.rpc.blobs.blobstore import Offer as AioOffer
from amzmq.rpc.blobs.offer import Blob as AioBlob
from amzmq.rpc.blobs.offer import BlobIterator as AioIterator
from amzmq.rpc.blobs.offer import ProgressFn


class Blob:
    """A blob that was offered. Nothing of it is fetched before somebody reads.

    It is read once, by one of ``for chunk in blob``, `read` and `save`; an iteration may be
    broken off and taken up again.

    >>> def keep(client: Client) -> None:
    ...     for blob in client.blobs("model"):
    ...         blob.save("model.bin")
    """

    def __init__(self, line: Line, blob: AioBlob) -> None:
        self._line = line
        self._aio = blob
        # One at a time: a chunk is large, and no more is fetched than is read.
        self._chunks = Taker(line, f"blob {blob.name!r}", blob.__anext__, batch=1)

    def __repr__(self) -> str:
        return repr(self._aio)

    @property
    def name(self) -> str:
        """Which kind of payload."""
        return self._aio.name

    @property
    def size(self) -> int:
        """Bytes."""
        return self._aio.size

    @property
    def token(self) -> bytes:
        """Unique to it."""
        return self._aio.token

    @property
    def source(self) -> str:
        """Id of the machine that sent it; "" if not told."""
        return self._aio.source

    @property
    def begun(self) -> bool:
        """Whether somebody reads it, or has."""
        return self._aio.begun

    @property
    def progress(self) -> int:
        """Bytes that have arrived."""
        return self._aio.progress

    def next(self, timeout: float | None = None) -> bytes | None:
        """The next chunk; None at the end.

        Args:
            timeout: Seconds; None waits as long as the transfer does.

        Raises:
            TimedOut: None came in time. Nothing is lost by that: ask again.
            AmzmqError: As `read`.
        """
        return self._chunks.next(timeout)

    def __iter__(self) -> Blob:
        return self

    def __next__(self) -> bytes:
        chunk = self.next()
        if chunk is None:
            raise StopIteration
        return chunk

    def read(self, timeout: float | None = None) -> bytes:
        """All of it; for one that fits into memory.

        Args:
            timeout: Seconds for all of it; None waits while something comes.

        Raises:
            NotConnected: The client stopped, or gave up its source.
            Refused: The source offers it no longer.
            CallTimeout: Nothing came for too long; `TimedOut` if not all within `timeout`, and
                what came is lost then.
            BlobDamaged: What came is not what was offered.
            RpcError: It was read already, at least in part.
            BlockingWait: This thread runs an event loop.
        """
        return self._line.run("read()", self._aio.read, timeout)

    def save(
        self,
        path: Path | str,
        progress: ProgressFn | None = None,
        timeout: float | None = None,
    ) -> None:
        """Write all of it to a file, which is there once it is complete, or not at all.

        Args:
            path: Where; what is there is replaced.
            progress: Called on the loop thread behind each chunk.
            timeout: Seconds for all of it; None waits while something comes.

        Raises:
            OSError: It cannot be written.
            AmzmqError: As `read`.
        """
        self._line.run("save()", lambda: self._aio.save(path, progress), timeout)


class BlobIterator(TwinIterator[Blob]):
    """``for blob in client.blobs("model")``; ends when the client stops.

    Offers are kept from the moment of creation on, up to the `limit` of `Client.blobs`; the
    oldest is dropped then, and counted in `dropped`.
    """

    def __init__(self, line: Line, iterator: AioIterator, timeout: float | None) -> None:
        async def step() -> Blob:
            return Blob(line, await anext(iterator))

        super().__init__(line, "blobs()", step, 1, iterator, timeout)


class Offer:
    """A blob that is offered, until it is closed or expires; made by `Mux.send_blob`."""

    def __init__(self, line: Line, offer: AioOffer) -> None:
        self._line = line
        self._aio = offer

    @property
    def token(self) -> bytes:
        """Names it; who knows it may fetch it."""
        return self._aio.token

    @property
    def size(self) -> int:
        """Bytes."""
        return self._aio.size

    @property
    def chunk_size(self) -> int:
        """Bytes of each chunk but the last."""
        return self._aio.chunk_size

    @property
    def closed(self) -> str:
        """Why it is offered no longer; "" while it is."""
        return self._aio.closed

    @property
    def expired(self) -> bool:
        """Whether that is because nobody fetched it."""
        return self._aio.expired

    @property
    def progress(self) -> dict[str, int]:
        """Client id to bytes sent to it."""
        return self._line.call("progress", lambda: dict(self._aio.progress))

    @property
    def taken(self) -> frozenset[str]:
        """Ids of the clients that have confirmed all of it."""
        return self._line.call("taken", lambda: self._aio.taken)

    def when_taken(self, client: str, timeout: float | None = None) -> None:
        """Wait until a client has confirmed all of it.

        Args:
            client: Its id (``rc-<name>``) or its name.
            timeout: Seconds; None waits until the offer ends.

        Raises:
            RpcError: The offer was closed, or expired, before.
            NotConnected: The mux was stopped; `taken` still tells.
            TimedOut: It had not within `timeout`.
            BlockingWait: This thread runs an event loop.
        """
        self._line.run("when_taken()", lambda: self._aio.when_taken(client), timeout)

    def close(self, reason: str = "it was closed") -> None:
        """Offer it no longer; closing again does nothing."""
        self._line.call("close()", lambda: self._aio.close(reason))
