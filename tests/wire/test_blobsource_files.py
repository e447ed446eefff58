"""Files that blobs are read from, and how they are called when something is wrong with them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from amzmq.errors import InvalidArgs
from amzmq.wire.blobs import CHUNK_LIMIT, BlobDamaged
from amzmq.wire.blobsource import BlobSource


class Dripping(io.BytesIO):
    """Gives three bytes at most, as an unbuffered file may."""

    name = "dripping"

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(3 if size is None or size < 0 else min(size, 3))


def test_a_file_that_gives_less_than_asked_is_asked_again() -> None:
    source = BlobSource(Dripping(b"0123456789"), chunk_size=4)
    assert [source.part(at).data for at in (0, 4, 8)] == [b"0123", b"4567", b"89"]
    source.close()


@pytest.mark.parametrize(
    ("size", "fits"), [(1, True), (CHUNK_LIMIT, True), (CHUNK_LIMIT + 1, False)]
)
def test_a_chunk_has_a_limit(size: int, fits: bool) -> None:
    if fits:
        assert BlobSource(b"data", size).part(0).size == min(4, size)
    else:
        with pytest.raises(InvalidArgs, match=f"1 to {CHUNK_LIMIT} bytes"):
            BlobSource(b"data", size)


def test_a_blob_is_called_by_what_it_is_read_from() -> None:
    for data, name in ((b"data", "bytes"), (Dripping(b"data"), "'dripping'")):
        source = BlobSource(data)
        source.close()
        with pytest.raises(BlobDamaged, match=f"^blob {name} was closed$"):
            source.part(0)


def test_a_file_that_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"data")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InvalidArgs, match=r"secret' cannot be opened: .*Permission denied"):
        BlobSource(path)
