"""Blobs are read and saved, on a link that may fail."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from pathlib import Path
from typing import Any

import pytest

from amzmq.errors import CallTimeout, FrameInvalid, Refused, RpcError
from amzmq.rpc.blobs.offer import Blob
from amzmq.wire.blobs import WINDOW, BlobDamaged
from amzmq.wire.control import Chunk, Fetch
from tests.rpc.blobs.rig import CHUNK, DATA, Net, chunks_seen, rest_of
from tests.rpc.rig import soon, turns, until


class TestReading:
    async def test_a_blob_is_read_as_it_was_offered(self, net: Net) -> None:
        link = net.link()
        offer = await net.offer()
        blob = link.offered(offer)
        assert (blob.name, blob.size, blob.progress) == ("model", len(DATA), 0)
        assert await soon(blob.read()) == DATA
        assert blob.progress == len(DATA)
        await soon(offer.when_taken("a"))
        counters = link.fetcher.counters
        assert (counters.complete, counters.bytes, counters.chunks) == (1, len(DATA), 21)
        assert (counters.duplicates, counters.holes, counters.stalls) == (0, 0, 0)
        assert net.store.counters.bytes == len(DATA)

    async def test_it_comes_in_chunks(self, net: Net) -> None:
        blob = net.link().offered(await net.offer())
        sizes = [len(chunk) async for chunk in blob]
        assert sizes == [CHUNK] * 20 + [17]

    async def test_an_iteration_may_be_broken_off_and_taken_up_again(self, net: Net) -> None:
        blob = net.link().offered(await net.offer())
        got = b""
        while len(got) < len(DATA):
            async for chunk in blob:
                got += chunk
                break
        assert got == DATA
        assert [chunk async for chunk in blob] == []

    async def test_an_empty_blob_is_one_too(self, net: Net) -> None:
        offer = await net.offer(b"")
        assert await soon(net.link().offered(offer).read()) == b""
        await soon(offer.when_taken("rc-a"))

    async def test_what_nobody_reads_is_not_fetched(self, net: Net) -> None:
        link = net.link()
        link.offered(await net.offer())
        await turns()
        assert link.asked == []

    async def test_a_slow_reader_stops_the_fetching(self, net: Net) -> None:
        link = net.link()
        blob = link.offered(await net.offer())
        await soon(anext(blob))
        await until(lambda: len(chunks_seen(link)) == WINDOW + 1)
        await turns()
        assert blob.progress == (WINDOW + 1) * CHUNK
        assert net.store.counters.chunks == WINDOW + 1
        assert await soon(rest_of(blob)) == DATA[CHUNK:]

    async def test_waiting_for_a_slow_reader_is_no_stall(self, net: Net) -> None:
        link = net.link()
        blob = link.offered(await net.offer())
        first = await soon(anext(blob))
        await until(lambda: not blob.reader.in_flight)
        for _ in range(10):
            link.fetcher._look()
        assert link.fetcher.counters.stalls == 0
        assert first + await soon(rest_of(blob)) == DATA

    async def test_one_that_was_dropped_half_read_is_not_fetched_further(self, net: Net) -> None:
        link = net.link()
        blob: Blob | None = link.offered(await net.offer())
        assert blob is not None
        await soon(anext(blob))
        del blob
        gc.collect()
        await until(lambda: link.fetcher.counters.failed)
        assert net.store.counters.chunks <= WINDOW

    async def test_only_one_may_read_at_a_time(self, net: Net) -> None:
        link = net.link()
        blob = link.offered(await net.offer())
        link.cut()
        reading = asyncio.create_task(blob.read())
        await turns()
        with pytest.raises(RpcError, match="blob 'model' is being read already"):
            await anext(blob)
        link.join()
        assert await soon(reading) == DATA

    async def test_what_was_read_in_part_cannot_be_read_as_a_whole(
        self, net: Net, tmp_path: Path
    ) -> None:
        blob = net.link().offered(await net.offer())
        await soon(anext(blob))
        with pytest.raises(RpcError, match="was read already, at least in part"):
            await blob.read()
        with pytest.raises(RpcError, match="was read already, at least in part"):
            await blob.save(tmp_path / "model")
        assert list(tmp_path.iterdir()) == []

    async def test_facts_that_make_no_sense_are_invalid(self, net: Net) -> None:
        with pytest.raises(FrameInvalid, match="blob="):
            net.link().fetcher.offer("model", b"token", [1])


class TestSaving:
    async def test_it_is_saved_with_progress(self, net: Net, tmp_path: Path) -> None:
        told: list[tuple[int, int]] = []
        path = tmp_path / "model"
        blob = net.link().offered(await net.offer())
        await soon(blob.save(path, progress=lambda done, size: told.append((done, size))))
        assert path.read_bytes() == DATA
        assert told == [(min(n * CHUNK, len(DATA)), len(DATA)) for n in range(1, 22)]
        assert os.listdir(tmp_path) == ["model"]

    async def test_what_is_there_is_replaced_only_when_all_has_come(
        self, net: Net, tmp_path: Path
    ) -> None:
        path = tmp_path / "model"
        path.write_bytes(b"old")
        link = net.link()
        offer = await net.offer()
        blob = link.offered(offer)
        saving = asyncio.create_task(blob.save(str(path), lambda done, size: offer.close()))
        with pytest.raises(Refused, match="it was closed"):
            await soon(saving)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["model"]
        await soon(link.offered(await net.offer()).save(path))
        assert path.read_bytes() == DATA

    async def test_a_canceled_save_leaves_nothing(self, net: Net, tmp_path: Path) -> None:
        link = net.link()
        begun = asyncio.Event()
        blob = link.offered(await net.offer())
        saving = asyncio.create_task(blob.save(tmp_path / "model", lambda *_: begun.set()))
        await soon(begun.wait())
        link.cut()
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(saving)
        assert os.listdir(tmp_path) == []

    async def test_a_file_that_cannot_be_written_is_an_error(
        self, net: Net, tmp_path: Path
    ) -> None:
        blob = net.link().offered(await net.offer())
        with pytest.raises(FileNotFoundError):
            await blob.save(tmp_path / "missing" / "model")

    async def test_from_a_file_to_a_file(self, net: Net, tmp_path: Path) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(DATA)
        offer = await net.offer(source)
        await soon(net.link().offered(offer).save(target))
        assert target.read_bytes() == DATA


class TestALinkThatFails:
    @pytest.mark.parametrize("seed", range(8))
    async def test_lost_and_repeated_chunks_do_not_show(self, net: Net, seed: int) -> None:
        rng = random.Random(seed)
        link = net.link(stall_timeout=0.01, stalls_limit=1000)
        link.fault = lambda message: rng.choice([0, 1, 1, 1, 1, 2])
        offer = await net.offer()
        blob = link.offered(offer)
        assert await soon(blob.read()) == DATA
        await soon(offer.when_taken("a"))
        counters = link.fetcher.counters
        assert counters.duplicates + counters.holes + counters.stalls > 0
        assert counters.bytes == len(DATA)

    async def test_a_missing_chunk_is_asked_for_without_waiting(self, net: Net) -> None:
        link = net.link()
        lost = iter([1, 0])
        link.fault = lambda message: next(lost, 1)
        assert await soon(link.offered(await net.offer()).read()) == DATA
        assert link.fetcher.counters.holes == 1

    @pytest.mark.parametrize("at", [0, 1, 5, 20])
    async def test_after_a_reconnect_it_goes_on_from_where_it_is(self, net: Net, at: int) -> None:
        link = net.link()
        offer = await net.offer()
        blob = link.offered(offer)
        reading = asyncio.create_task(blob.read())
        await until(lambda: blob.progress >= at * CHUNK)
        link.cut()
        before = blob.progress
        await turns()
        assert blob.progress == before
        asked = len(link.asked)
        link.join()
        assert await soon(reading) == DATA
        if before < len(DATA):
            assert link.asked[asked].offset == before
        assert link.fetcher.counters.duplicates == 0
        await soon(offer.when_taken("a"))

    async def test_it_survives_many_reconnects(self, net: Net, tmp_path: Path) -> None:
        link = net.link()
        cuts: list[int] = []

        def progress(done: int, size: int) -> None:
            if done % (3 * CHUNK) == 0:
                cuts.append(done)
                link.cut()
                asyncio.get_running_loop().call_later(0.001, link.join)

        blob = link.offered(await net.offer())
        await soon(blob.save(tmp_path / "model", progress))
        assert (tmp_path / "model").read_bytes() == DATA
        assert len(cuts) == 6
        # Each time at most a window was sent for nothing.
        assert net.store.counters.bytes <= len(DATA) + len(cuts) * WINDOW * CHUNK

    async def test_begun_without_a_connection_it_waits_for_one(self, net: Net) -> None:
        link = net.link()
        link.connected = False
        reading = asyncio.create_task(link.offered(await net.offer()).read())
        await turns()
        for _ in range(10):
            link.fetcher._look()
        assert not reading.done()
        assert link.fetcher.counters.stalls == 0
        link.join()
        assert await soon(reading) == DATA

    async def test_a_connection_away_in_the_midst_is_no_stall(self, net: Net) -> None:
        link = net.link()
        blob = link.offered(await net.offer())
        reading = asyncio.create_task(blob.read())
        await until(lambda: blob.progress)
        link.cut()
        for _ in range(10):
            link.fetcher._look()
        assert not reading.done()
        assert link.fetcher.counters.stalls == 0
        link.join()
        assert await soon(reading) == DATA

    async def test_a_source_that_never_answers_is_given_up(self, net: Net) -> None:
        link = net.link(stall_timeout=0.001, stalls_limit=3)
        link.fault = lambda message: 0
        with pytest.raises(CallTimeout, match="nothing came after byte 0 of 20017, asked 4 times"):
            await soon(link.offered(await net.offer()).read())
        assert link.fetcher.counters.stalls == 3
        assert link.fetcher.counters.failed == 1

    async def test_a_full_queue_is_counted_and_asked_again(self, net: Net) -> None:
        link = net.link(stall_timeout=0.01, stalls_limit=1000)
        refused = iter([False, True, True, False, False])
        down = link._down
        link._down = lambda message, blobs: next(refused, True) and down(message, blobs)  # type: ignore[method-assign]
        assert await soon(link.offered(await net.offer()).read()) == DATA
        assert net.store.counters.undelivered >= 2

    async def test_a_damaged_chunk_is_an_error_and_no_data(self, net: Net, tmp_path: Path) -> None:
        link = net.link()
        left = iter(range(20))
        link.damage = lambda data: data if next(left, None) is not None else data[:-1] + b"?"
        offer = await net.offer()
        with pytest.raises(BlobDamaged, match="not those offered"):
            await soon(link.offered(offer).save(tmp_path / "model"))
        assert os.listdir(tmp_path) == []
        assert link.fetcher.counters.failed == 1
        assert offer.taken == frozenset()

    async def test_a_confirmation_that_was_lost_is_repeated(self, net: Net) -> None:
        link = net.link(stall_timeout=0.005, stalls_limit=1000)
        offer = await net.offer()
        lost = iter([0, 0])
        on_fetch = net.store.on_fetch

        def lossy(key: Any, fetch: Fetch, send: Any, understood: Any) -> None:
            if fetch.chunks or next(lost, 1):
                on_fetch(key, fetch, send, understood)

        net.store.on_fetch = lossy  # type: ignore[assignment, method-assign]
        assert await soon(link.offered(offer).read()) == DATA
        await soon(offer.when_taken("a"))
        assert link.fetcher.counters.unconfirmed == 0

    async def test_a_confirmation_nobody_answers_is_given_up_and_counted(self, net: Net) -> None:
        link = net.link(stalls_limit=2)
        link.fault = lambda message: int(isinstance(message, Chunk) and message.size > 0)
        assert await soon(link.offered(await net.offer()).read()) == DATA
        for _ in range(2):
            link.fetcher._look()
        assert link.fetcher.counters.unconfirmed == 0
        link.fetcher._look()
        assert link.fetcher.counters.unconfirmed == 1
        confirmations = [fetch for fetch in link.asked if not fetch.chunks]
        assert len(confirmations) == 3
