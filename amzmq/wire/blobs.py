"""Blobs: bytes too many for one payload, offered once and fetched chunk by chunk.

    source   BlobOffer in a payload  ──►         size, chunk size, digest
             ◄──  Fetch(token, 0, 8)   client    from the first byte on, eight chunks
             Chunk, Chunk, Chunk ...  ──►
             ◄──  Fetch(token, ...)              as its reader goes on: one that is slow stops it
             ◄──  Fetch(token, size, 0)          all of it has arrived
             Chunk(token, size, 0)    ──►        noted

The client asks, so nothing has to be remembered for it: a lost chunk or connection only means
to ask again from where it is. A Fetch that begins where the last one ended asks for more; any
other replaces what was asked for before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from amzmq.errors import FrameInvalid, InvalidArgs, Remedy, WireError
from amzmq.wire.codec import Value
from amzmq.wire.compression import decompress
from amzmq.wire.control import Chunk, Fetch

CHUNK_SIZE = 256 * 1024
"""Bytes of a chunk, unless told; gRPC's advice for streaming is 16 to 64 KiB, NATS's object
store takes 128 KiB. Per chunk we pay a turn of the loop and of a thread."""

CHUNK_LIMIT = 512 * 1024
"""Bytes of a chunk at most: half of what the smallest frame limit allows."""

WINDOW = 8
"""Chunks in flight or not yet read, unless told: 2 MiB, so 20 MB/s at 100 ms of delay."""

WINDOW_LIMIT = 64
"""Chunks that one Fetch may ask for."""


class BlobDamaged(WireError):
    """A blob is not what was offered: it arrived differently, or its file has changed."""

    remedy = Remedy.RETRY


@dataclass(frozen=True, slots=True)
class BlobOffer:
    """What is said of a blob when it is offered.

    Attributes:
        size: Bytes.
        chunk_size: Bytes of each chunk but the last.
        digest: SHA-256 of the bytes; b"" if it was not taken.
    """

    size: int
    chunk_size: int
    digest: bytes = b""

    def facts(self) -> list[Value]:
        """As it stands in a payload."""
        return [self.size, self.chunk_size, self.digest]

    @classmethod
    def from_facts(cls, facts: Sequence[Value]) -> BlobOffer:
        """Of a payload; further facts are ignored.

        Raises:
            FrameInvalid: They are no such facts.
        """
        size, chunk_size, digest = [*facts, *(None,) * 3][:3]
        digest = b"" if digest is None else digest
        if (
            type(size) is not int
            or type(chunk_size) is not int
            or type(digest) is not bytes
            or size < 0
            or not 0 < chunk_size <= CHUNK_LIMIT
            or len(digest) not in (0, hashlib.sha256().digest_size)
        ):
            raise FrameInvalid(f"blob={facts!r:.80}: [size, chunk size, sha256] expected")
        return cls(size, chunk_size, digest)


class BlobReader:
    """One blob as it arrives: what to ask for, and whether what comes is right.

    Args:
        token: Of the blob.
        offer: What was said of it.
        window: Chunks that may be in flight or not yet taken by whoever reads.

    Attributes:
        offset: Everything before this byte has arrived.
        duplicates: Chunks that came again, or that nobody asked for.
        holes: Times that a chunk was missing before the one that came.
    """

    def __init__(self, token: bytes, offer: BlobOffer, window: int = WINDOW) -> None:
        if not 0 < window <= WINDOW_LIMIT:
            raise InvalidArgs(f"window={window}; 1 to {WINDOW_LIMIT} chunks are allowed")
        self.token = token
        self.offer = offer
        self.offset = 0
        self.duplicates = 0
        self.holes = 0
        self._window = window * offer.chunk_size
        self._asked = 0
        self._taken = 0
        self._hole_at = -1
        self._total = hashlib.sha256()

    @property
    def complete(self) -> bool:
        """Whether all of it has arrived, and is right."""
        return self.offset == self.offer.size

    @property
    def in_flight(self) -> int:
        """Bytes asked for that have not arrived."""
        return self._asked - self.offset

    def fetch(self) -> Fetch | None:
        """What to ask the source for now; None when there is no need, or no room.

        It counts as asked for: call `restart` if it could not be sent.
        """
        size = self.offer.size
        goal = min(size, self._taken + self._window)
        missing = goal - self._asked
        # Half a window at a time, so that not each chunk costs a message.
        if missing <= 0 or (self.in_flight and goal < size and missing * 2 < self._window):
            return None
        chunk_size = self.offer.chunk_size
        chunks = -(-missing // chunk_size)
        fetch = Fetch(self.token, self._asked, chunks)
        self._asked = min(size, self._asked + chunks * chunk_size)
        return fetch

    def confirmation(self) -> Fetch:
        """What tells the source that all of it has arrived."""
        return Fetch(self.token, self.offer.size, 0)

    def receive(self, chunk: Chunk, data: bytes) -> bytes | None:
        """The bytes that a chunk adds; None when it is a known one, or comes too early.

        After one that is too early `fetch` asks again from the missing one on.

        Raises:
            BlobDamaged: It is not what was offered.
        """
        if not self.offset <= chunk.offset < self._asked:
            self.duplicates += 1
            return None
        if chunk.offset > self.offset:
            # Those behind the missing one are on their way too: it is asked for once.
            if self._hole_at != self.offset:
                self.holes += 1
                self.restart()
                self._hole_at = self.offset
            return None
        plain = self._plain(chunk, data)
        offset = self.offset + len(plain)
        if self.offer.digest:
            self._total.update(plain)
            if offset == self.offer.size and self._total.digest() != self.offer.digest:
                raise BlobDamaged(f"all {offset} bytes arrived, but they are not those offered")
        self.offset = offset
        return plain

    def took(self, size: int) -> None:
        """Whoever reads has taken so many bytes: there is room for as many."""
        self._taken += size

    def restart(self) -> None:
        """What was asked for will not come: ask again from where it is."""
        self._asked = self.offset
        self._hole_at = -1

    def _plain(self, chunk: Chunk, data: bytes) -> bytes:
        expected = min(self.offer.chunk_size, self.offer.size - self.offset)
        if chunk.size != expected:
            raise BlobDamaged(f"at byte {self.offset}: {chunk.size} bytes, {expected} expected")
        if chunk.encoding:
            try:
                data = decompress(chunk.encoding, data, expected)
            except FrameInvalid as error:
                raise BlobDamaged(f"at byte {self.offset}: {error}") from None
        if len(data) != expected:
            raise BlobDamaged(f"at byte {self.offset}: {len(data)} bytes, {expected} expected")
        return data
