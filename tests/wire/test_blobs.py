"""A blob arrives as it was offered, whatever happens to its chunks, or it is an error."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from amzmq.errors import FrameInvalid, InvalidArgs, Remedy
from amzmq.wire import compression
from amzmq.wire.blobs import CHUNK_LIMIT, WINDOW_LIMIT, BlobDamaged, BlobOffer, BlobReader
from amzmq.wire.blobsource import BlobSource
from amzmq.wire.compression import ZSTD, decompress, encodings
from amzmq.wire.control import Chunk, Fetch

TOKEN = b"token"


def chunk_of(source: BlobSource, offset: int, understood: tuple[str, ...] = ()) -> Any:
    part = source.part(offset, understood)
    return Chunk(TOKEN, offset, part.size, part.encoding), part.data


def offsets(fetch: Fetch, offer: BlobOffer) -> list[int]:
    """Where the chunks begin that a source sends for a Fetch."""
    end = min(offer.size, fetch.offset + fetch.chunks * offer.chunk_size)
    return list(range(fetch.offset, end, offer.chunk_size))


class TestOffers:
    @given(st.integers(0, 2**63), st.integers(1, CHUNK_LIMIT), st.sampled_from([b"", b"d" * 32]))
    def test_what_is_said_of_a_blob_comes_back(
        self, size: int, chunk_size: int, digest: bytes
    ) -> None:
        offer = BlobOffer(size, chunk_size, digest)
        assert BlobOffer.from_facts(offer.facts()) == offer
        assert BlobOffer.from_facts([*offer.facts(), "more"]) == offer

    def test_a_digest_may_be_missing(self) -> None:
        assert BlobOffer.from_facts([5, 2]) == BlobOffer(5, 2)

    @pytest.mark.parametrize(
        "facts",
        [
            [],
            [1],
            [-1, 1],
            [1, 0],
            [1, -1],
            [1, CHUNK_LIMIT + 1],
            [True, 1],
            [1, 1.0],
            ["1", 1],
            [1, 1, "digest"],
            [1, 1, b"short"],
        ],
    )
    def test_facts_that_make_no_sense_are_invalid(self, facts: list[object]) -> None:
        with pytest.raises(FrameInvalid, match=re.escape(f"blob={facts!r}")):
            BlobOffer.from_facts(facts)


class TestSources:
    @given(data=st.binary(max_size=200), chunk_size=st.integers(1, 64), kind=st.integers(0, 4))
    def test_the_chunks_together_are_the_data(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes, chunk_size: int, kind: int
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "data"
        path.write_bytes(data)
        with path.open("rb", buffering=0) as unbuffered:
            given: Any = [data, bytearray(data), path, io.BytesIO(data), unbuffered][kind]
            source = BlobSource(given, chunk_size)
            parts = [source.part(at) for at in range(0, len(data), chunk_size)]
            assert b"".join(part.data for part in parts) == data
            assert all(part.size == len(part.data) <= chunk_size for part in parts)
            assert source.offer == BlobOffer(len(data), chunk_size)
            assert source.take_digest() == hashlib.sha256(data).digest()
            assert source.offer == BlobOffer(len(data), chunk_size, source.take_digest())
            source.close()

    def test_a_file_that_changes_is_not_sent_on(self, tmp_path: Path) -> None:
        path = tmp_path / "data"
        path.write_bytes(b"12345")
        source = BlobSource(path, 2)
        assert source.part(0).data == b"12"
        path.write_bytes(b"abcde")
        os.utime(path, ns=(0, 0))
        with pytest.raises(BlobDamaged, match=r"data has changed since it was offered"):
            source.part(2)
        source.close()

    def test_a_file_that_becomes_shorter_is_not_sent_on(self) -> None:
        file = io.BytesIO(b"12345")
        source = BlobSource(file, 2)
        file.truncate(3)
        with pytest.raises(BlobDamaged, match="ends at byte 3 of 5"):
            source.part(2)

    def test_a_file_that_its_owner_closed_is_not_sent_on(self) -> None:
        file = io.BytesIO(b"12345")
        source = BlobSource(file, 2)
        file.close()
        with pytest.raises(BlobDamaged, match="cannot be read: .*closed"):
            source.part(2)

    def test_a_file_given_open_stays_open(self) -> None:
        file = io.BytesIO(b"12345")
        BlobSource(file).close()
        assert not file.closed

    @pytest.mark.parametrize("data", [b"12345", "path", io.BytesIO(b"12345")])
    def test_a_closed_source_sends_nothing(self, data: Any, tmp_path: Path) -> None:
        if data == "path":
            data = tmp_path / "data"
            data.write_bytes(b"12345")
        source = BlobSource(data)
        source.close()
        source.close()
        with pytest.raises(BlobDamaged, match="was closed"):
            source.part(0)

    def test_closing_does_not_wait_for_a_reader_and_still_closes_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "data"
        path.write_bytes(b"12345")
        source = BlobSource(path)
        reading, go_on = threading.Event(), threading.Event()

        def slow(*args: object) -> bytes:
            reading.set()
            assert go_on.wait(10)
            return b"12345"

        monkeypatch.setattr("amzmq.wire.blobsource._read_at", slow)
        thread = threading.Thread(target=source.part, args=(0,))
        thread.start()
        assert reading.wait(10)
        source.close()
        go_on.set()
        thread.join(10)
        # The file is closed by now: tests/conftest.py fails this test for a descriptor left open.
        with pytest.raises(BlobDamaged):
            source.part(0)

    @pytest.mark.parametrize(
        ("data", "named"),
        [
            (Path("nowhere/nothing"), "is no file"),
            (Path(), "is no file"),
            (io.StringIO("text"), "a binary file that can seek"),
            ("a text", "a binary file that can seek"),
            (None, "a binary file that can seek"),
        ],
    )
    def test_what_cannot_be_offered_is_refused(self, data: Any, named: str) -> None:
        with pytest.raises(InvalidArgs, match=named):
            BlobSource(data)

    @pytest.mark.parametrize("chunk_size", [0, -1, CHUNK_LIMIT + 1])
    def test_a_chunk_has_a_size_that_fits_a_frame(self, chunk_size: int) -> None:
        with pytest.raises(InvalidArgs, match=f"chunk_size={chunk_size}; 1 to {CHUNK_LIMIT}"):
            BlobSource(b"", chunk_size)


class TestCompression:
    def test_a_chunk_is_compressed_for_those_who_can_read_it(self) -> None:
        source = BlobSource(b"a" * 1000)
        assert encodings() == (ZSTD,)
        assert source.part(0) == (1000, "", b"a" * 1000)
        assert source.part(0, ["other"]).encoding == ""
        part = source.part(0, ["other", ZSTD])
        assert (part.size, part.encoding) == (1000, ZSTD)
        assert len(part.data) < 100
        assert decompress(ZSTD, part.data, 1000) == b"a" * 1000

    def test_a_chunk_that_would_not_get_smaller_is_not_compressed(self) -> None:
        data = hashlib.shake_256().digest(5000)
        assert BlobSource(data).part(0, [ZSTD]) == (5000, "", data)

    def test_without_the_package_nothing_is_compressed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        compression.encodings.cache_clear()
        try:
            assert encodings() == ()
            assert BlobSource(b"a" * 1000).part(0, [ZSTD]).encoding == ""
            with pytest.raises(FrameInvalid, match=r"encoding 'zstd'; .*install amzmq\[zstd\]"):
                decompress(ZSTD, b"", 0)
        finally:
            compression.encodings.cache_clear()

    def test_a_few_bytes_cannot_claim_gigabytes(self) -> None:
        huge = zstandard.ZstdCompressor().compress(bytes(50_000_000))
        assert len(huge) < 10_000
        with pytest.raises(FrameInvalid, match="a chunk of 1000 bytes, compressed from 50000000"):
            decompress(ZSTD, huge, 1000)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"no zstd at all",
            zstandard.ZstdCompressor().compress(b"a" * 1000)[:-3],
            zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 1000),
        ],
    )
    def test_what_is_not_the_chunk_compressed_is_invalid(self, data: bytes) -> None:
        with pytest.raises(FrameInvalid):
            decompress(ZSTD, data, 1000)

    def test_an_encoding_nobody_knows_is_invalid(self) -> None:
        with pytest.raises(FrameInvalid, match="'lz77'; this side can read zstd"):
            decompress("lz77", b"", 0)

    @given(st.binary(max_size=300))
    def test_any_bytes_are_read_or_invalid(self, data: bytes) -> None:
        try:
            assert len(decompress(ZSTD, data, 10)) == 10
        except FrameInvalid:
            pass


class Channel:
    """Everything between a reader and its source, in the hands of hypothesis."""

    def __init__(self, data: bytes, chunk_size: int, window: int) -> None:
        self.source = BlobSource(data, chunk_size)
        self.source.take_digest()
        self.reader = BlobReader(TOKEN, self.source.offer, window)
        self.window = window * chunk_size
        self.on_the_way: list[int] = []
        self.arrived = bytearray()
        self.taken = 0

    def ask(self) -> None:
        fetch = self.reader.fetch()
        if fetch is None:
            return
        assert fetch.offset + fetch.chunks * self.source.chunk_size <= (
            self.taken + self.window + self.source.chunk_size - 1
        )
        self.on_the_way += offsets(fetch, self.source.offer)

    def arrive(self, at: int, understood: tuple[str, ...] = (ZSTD,)) -> None:
        plain = self.reader.receive(*chunk_of(self.source, at, understood))
        if plain is not None:
            self.arrived += plain
        assert self.reader.offset == len(self.arrived)
        assert 0 <= self.reader.in_flight
        assert len(self.arrived) - self.taken <= self.window

    def take(self) -> None:
        self.reader.took(len(self.arrived) - self.taken)
        self.taken = len(self.arrived)


EVENTS = ("deliver", "deliver", "deliver", "lose", "repeat", "swap", "reconnect", "take", "ask")


@given(
    data=st.binary(max_size=120),
    chunk_size=st.integers(1, 16),
    window=st.integers(1, 6),
    events=st.lists(st.sampled_from(EVENTS), max_size=60),
)
def test_whatever_happens_to_the_chunks_the_blob_arrives_as_it_was(
    data: bytes, chunk_size: int, window: int, events: list[str]
) -> None:
    channel = Channel(data, chunk_size, window)
    way = channel.on_the_way
    for event in events:
        if event == "ask":
            channel.ask()
        elif event == "take":
            channel.take()
        elif event == "reconnect":
            way.clear()
            channel.reader.restart()
        elif not way:
            continue
        elif event == "lose":
            way.pop(0)
        elif event == "repeat":
            channel.arrive(way[0])
        elif event == "swap":
            way.reverse()
        else:
            channel.arrive(way.pop(0))
    # From here on nothing is lost; what was is noticed, by the next chunk or by the silence.
    for _ in range(2 * len(data) + 10):
        channel.take()
        channel.ask()
        if way:
            channel.arrive(way.pop(0))
        elif not channel.reader.complete:
            channel.reader.restart()
    assert channel.reader.complete
    assert bytes(channel.arrived) == data


class TestReaders:
    def reader(self, size: int = 100, window: int = 4, digest: bytes = b"") -> BlobReader:
        return BlobReader(TOKEN, BlobOffer(size, 10, digest), window)

    def give(self, reader: BlobReader, at: int, data: bytes = b"x" * 10) -> bytes | None:
        return reader.receive(Chunk(TOKEN, at, len(data)), data)

    def test_it_asks_for_no_more_than_its_window(self) -> None:
        reader = self.reader()
        assert reader.fetch() == Fetch(TOKEN, 0, 4)
        assert reader.fetch() is None
        for at in range(0, 40, 10):
            assert self.give(reader, at)
        assert reader.fetch() is None

    def test_it_asks_for_half_a_window_at_a_time_as_it_is_read(self) -> None:
        reader = self.reader()
        reader.fetch()
        self.give(reader, 0)
        reader.took(10)
        assert reader.fetch() is None
        self.give(reader, 10)
        reader.took(10)
        assert reader.fetch() == Fetch(TOKEN, 40, 2)

    def test_it_asks_for_the_rest_however_little_that_is(self) -> None:
        reader = self.reader(size=45)
        reader.fetch()
        self.give(reader, 0)
        reader.took(10)
        assert reader.fetch() == Fetch(TOKEN, 40, 1)
        assert reader.in_flight == 35

    def test_a_missing_chunk_is_asked_for_once(self) -> None:
        reader = self.reader()
        reader.fetch()
        self.give(reader, 0)
        assert self.give(reader, 20) is None
        assert reader.fetch() == Fetch(TOKEN, 10, 3)
        assert self.give(reader, 30) is None
        assert reader.fetch() is None
        assert reader.holes == 1
        assert self.give(reader, 10)
        assert reader.offset == 20

    def test_after_a_reconnect_it_asks_from_where_it_is(self) -> None:
        reader = self.reader()
        reader.fetch()
        self.give(reader, 0)
        reader.restart()
        assert reader.fetch() == Fetch(TOKEN, 10, 3)

    @pytest.mark.parametrize("at", [0, 40, 1000])
    def test_what_is_known_or_was_not_asked_for_is_dropped_and_counted(self, at: int) -> None:
        reader = self.reader()
        reader.fetch()
        self.give(reader, 0)
        assert self.give(reader, at) is None
        assert reader.duplicates == 1
        assert reader.offset == 10

    def test_before_anything_was_asked_for_nothing_is_taken(self) -> None:
        reader = self.reader()
        assert self.give(reader, 0) is None
        assert reader.offset == 0

    def test_an_empty_blob_is_complete_at_once(self) -> None:
        reader = self.reader(size=0)
        assert reader.complete
        assert reader.fetch() is None

    def test_a_complete_one_says_so(self) -> None:
        reader = self.reader(size=10)
        reader.fetch()
        self.give(reader, 0)
        assert reader.complete
        assert reader.confirmation() == Fetch(TOKEN, 10, 0)

    @pytest.mark.parametrize(
        ("chunk", "data", "named"),
        [
            (Chunk(TOKEN, 0, 9), b"x" * 9, "at byte 0: 9 bytes, 10 expected"),
            (Chunk(TOKEN, 0, 9), b"x" * 10, "at byte 0: 9 bytes, 10 expected"),
            (Chunk(TOKEN, 0, 10), b"x" * 11, "at byte 0: 11 bytes, 10 expected"),
            (Chunk(TOKEN, 0, 10), b"", "at byte 0: 0 bytes, 10 expected"),
            (Chunk(TOKEN, 0, 10, ZSTD), b"x" * 10, "at byte 0: .*zstd"),
            (Chunk(TOKEN, 0, 10, "rot13"), b"x" * 10, "at byte 0: .*'rot13'"),
        ],
    )
    def test_a_chunk_that_is_not_as_offered_is_damaged(
        self, chunk: Chunk, data: bytes, named: str
    ) -> None:
        reader = self.reader()
        reader.fetch()
        with pytest.raises(BlobDamaged, match=named) as caught:
            reader.receive(chunk, data)
        assert caught.value.remedy is Remedy.RETRY

    def test_bytes_that_are_not_those_offered_are_damaged_at_the_end(self) -> None:
        reader = self.reader(size=20, digest=hashlib.sha256(b"x" * 19 + b"y").digest())
        reader.fetch()
        self.give(reader, 0)
        with pytest.raises(BlobDamaged, match="all 20 bytes arrived, but they are not"):
            self.give(reader, 10)
        assert not reader.complete

    @pytest.mark.parametrize("window", [0, -1, WINDOW_LIMIT + 1])
    def test_a_window_has_a_limit(self, window: int) -> None:
        with pytest.raises(InvalidArgs, match=f"window={window}; 1 to {WINDOW_LIMIT}"):
            self.reader(window=window)
