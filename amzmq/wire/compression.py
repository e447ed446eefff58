"""Compression of chunks, where the package for it is installed (extra ``zstd``).

Each chunk is compressed by itself, so that one can be fetched without those before it.
"""

from __future__ import annotations

import functools
import importlib.util

from amzmq.errors import FrameInvalid

ZSTD = "zstd"
"""Name of the encoding, in chunks and in the capabilities of Hello and Welcome."""

# What saves less than a tenth is not worth the time of the one who has to undo it.
_WORTH = 0.9


@functools.cache
def encodings() -> tuple[str, ...]:
    """The encodings that this process can write and read, by name; empty without the extra."""
    return (ZSTD,) if importlib.util.find_spec("zstandard") else ()


def compress(data: bytes) -> bytes | None:
    """The data compressed by zstd; None when that would not save enough."""
    import zstandard

    packed = zstandard.ZstdCompressor().compress(data)
    return packed if len(packed) <= len(data) * _WORTH else None


def decompress(encoding: str, data: bytes, size: int) -> bytes:
    """The bytes that were compressed.

    Args:
        encoding: How.
        data: The compressed bytes.
        size: How many they have to be uncompressed; more are never made.

    Raises:
        FrameInvalid: They are something else, or this process cannot read the encoding.
    """
    if encoding not in encodings():
        raise FrameInvalid(
            f"a chunk in encoding {encoding!r:.40}; this side can read "
            f"{' '.join(encodings()) or 'none'} (install amzmq[zstd])"
        )
    import zstandard

    try:
        # The library trusts the size in the header, so a few bytes could claim gigabytes.
        told = zstandard.frame_content_size(data)
        if told != size:
            raise FrameInvalid(f"a chunk of {size} bytes, compressed from {told}")
        plain = zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise FrameInvalid(f"{len(data)} bytes that are no zstd: {error}") from None
    if len(plain) != size:
        raise FrameInvalid(f"a chunk of {size} bytes, decompressed to {len(plain)}")
    return plain
