"""Blobs between a source's store and clients' fetchers, on a link that may fail."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import random
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from amzmq.errors import CallTimeout, FrameInvalid, InvalidArgs, NotConnected, Refused, RpcError
from amzmq.net import Delivery, ZmqTransport
from amzmq.rpc.blobs.blobstore import OFFERS_LIMIT, BlobStore, Offer
from amzmq.rpc.blobs.fetcher import NOBODY, Fetcher
from amzmq.rpc.blobs.offer import Blob
from amzmq.rpc.payload import Payload
from amzmq.wire.blobs import WINDOW, BlobDamaged
from amzmq.wire.blobsource import BlobPart
from amzmq.wire.compression import ZSTD
from amzmq.wire.control import Chunk, Fetch, Message, Refusal, from_frame, to_frame
from tests.docs.examples import examples, run
from tests.rpc.rig import soon, turns, until

CHUNK = 1000
DATA = random.Random(5).randbytes(20 * CHUNK + 17)


class Link:
    """One client's connection to a store.

    Attributes:
        connected: Whether anything passes.
        fault: What becomes of a message on its way down: how many of it arrive.
        seen: Everything that came down.
        asked: Everything that went up.
    """

    def __init__(
        self, store: BlobStore, name: str = "rc-a", understood: Sequence[str] = (), **options: Any
    ) -> None:
        self.store = store
        self.key = name, b"incarnation"
        self.understood = understood
        self.connected = True
        self.fault: Callable[[Message], int] = lambda message: 1
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self.seen: list[Message] = []
        self.asked: list[Fetch] = []
        options.setdefault("stall_timeout", 60.0)  # only where a test is about stalls are there any
        self.fetcher = Fetcher(self._up, **options)
        self._loop = asyncio.get_running_loop()

    def offered(self, offer: Offer, name: str = "model") -> Blob:
        return self.fetcher.offer(name, offer.token, offer.facts)

    def cut(self) -> None:
        """The connection is lost, and what is on its way with it."""
        self.connected = False
        self.store.forget(self.key)

    def join(self) -> None:
        self.connected = True
        self.fetcher.reconnected()

    def _up(self, fetch: Fetch) -> bool:
        if not self.connected:
            return False
        self.asked.append(fetch)
        self._loop.call_soon(self._arrive_up, to_frame(fetch))
        return True

    def _arrive_up(self, frame: bytes) -> None:
        message = from_frame(frame)
        assert isinstance(message, Fetch)
        if self.connected:
            self.store.on_fetch(self.key, message, self._down, self.understood)

    def _down(self, message: Chunk | Refusal, blobs: Sequence[bytes]) -> bool:
        if not self.connected:
            return False
        frame = to_frame(message)
        for _ in range(self.fault(message)):
            self._loop.call_soon(self._arrive_down, frame, tuple(map(self.damage, blobs)))
        return True

    def _arrive_down(self, frame: bytes, blobs: tuple[bytes, ...]) -> None:
        message = from_frame(frame)
        if not self.connected:
            return
        self.seen.append(message)
        if isinstance(message, Chunk):
            self.fetcher.on_chunk(message, blobs[0])
        else:
            assert isinstance(message, Refusal)
            assert message.token
            self.fetcher.on_refused(message.token, message.reason)


def end(fetcher: Fetcher) -> None:
    fetcher.end(NotConnected("the client was stopped"))


class Net:
    """A store and its links until the end of the test."""

    def __init__(self) -> None:
        self.store = BlobStore()
        self.links: list[Link] = []

    def link(self, *args: Any, **options: Any) -> Link:
        link = Link(self.store, *args, **options)
        self.links.append(link)
        return link

    async def offer(self, data: Any = DATA, **options: Any) -> Offer:
        return self.store.offer(await self.store.prepare(data, CHUNK), **options)


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    yield net
    for link in net.links:
        end(link.fetcher)
    await net.store.close()


def chunks_seen(link: Link) -> list[int]:
    return [m.offset for m in link.seen if isinstance(m, Chunk) and m.size]


async def rest_of(blob: Blob) -> bytes:
    """What is left of a blob."""
    return b"".join([chunk async for chunk in blob])


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


class TestOffers:
    async def test_what_is_not_offered_is_refused(self, net: Net) -> None:
        blob = net.link().fetcher.offer("model", b"unknown", [5, 1])
        with pytest.raises(Refused, match="no such blob is offered, or no longer"):
            await soon(blob.read())
        assert net.store.counters.refused == 1

    async def test_a_restarted_source_knows_nothing_of_the_earlier_offers(self, net: Net) -> None:
        link = net.link()
        blob = link.offered(await net.offer())
        await soon(anext(blob))
        link.cut()
        link.store = BlobStore()
        link.join()
        with pytest.raises(Refused, match="no such blob"):
            await soon(rest_of(blob))
        await link.store.close()

    async def test_one_that_is_closed_ends_with_its_reason(self, net: Net) -> None:
        link = net.link()
        offer = await net.offer()
        blob = link.offered(offer)
        await soon(anext(blob))
        await until(lambda: not blob.reader.in_flight)
        offer.close("replaced by a newer one")
        offer.close("again")
        assert offer.closed == "replaced by a newer one"
        assert len(net.store) == 0
        with pytest.raises(Refused, match="no such blob is offered"):
            await soon(rest_of(blob))

    async def test_one_that_nobody_fetches_expires(self, net: Net) -> None:
        offer = await net.offer(keep=0.01)
        with pytest.raises(RpcError, match=r"not taken by 'a': nobody fetched it for 0\.01 s"):
            await soon(offer.when_taken("a"))
        assert (len(net.store), net.store.counters.expired) == (0, 1)
        with pytest.raises(RpcError, match="nobody fetched it"):
            await offer.when_taken("a")

    async def test_fetching_keeps_it(self, net: Net) -> None:
        offer = await net.offer(keep=60.0)
        offer._used_at -= 61.0
        assert await soon(net.link().offered(offer).read()) == DATA
        offer._look()
        assert len(net.store) == 1
        offer._used_at -= 61.0
        offer._look()
        assert offer.closed == "nobody fetched it for 60 s"
        assert len(net.store) == 0

    async def test_who_took_it_can_be_awaited(self, net: Net) -> None:
        a, b = net.link("rc-a"), net.link("rc-b")
        offer = await net.offer()
        waits = [asyncio.create_task(offer.when_taken(name)) for name in ("a", "rc-b")]
        await turns()
        assert await soon(a.offered(offer).read()) == DATA
        await soon(waits[0])
        assert offer.taken == {"rc-a"}
        assert not waits[1].done()
        assert offer.progress == {"rc-a": len(DATA)}
        assert await soon(b.offered(offer).read()) == DATA
        await soon(waits[1])
        assert offer.taken == {"rc-a", "rc-b"}
        assert net.store.counters.taken == 2

    async def test_a_wait_that_is_canceled_is_forgotten(self, net: Net) -> None:
        offer = await net.offer()
        wait = asyncio.create_task(offer.when_taken("a"))
        await turns()
        wait.cancel()
        await asyncio.wait([wait])
        offer.close()
        assert wait.cancelled()

    async def test_a_file_that_changes_is_withdrawn(self, net: Net, tmp_path: Path) -> None:
        path = tmp_path / "data"
        path.write_bytes(DATA)
        offer = await net.offer(path)
        blob = net.link().offered(offer)
        await soon(anext(blob))
        await until(lambda: not blob.reader.in_flight)
        path.write_bytes(b"something else")
        with pytest.raises(Refused, match="has changed since it was offered"):
            await soon(rest_of(blob))
        assert net.store.counters.broken == 1
        assert "has changed" in offer.closed

    async def test_what_cannot_be_offered_is_refused(self, net: Net, tmp_path: Path) -> None:
        with pytest.raises(InvalidArgs, match="is no file"):
            await net.offer(tmp_path)
        taken = await net.offer()
        with pytest.raises(InvalidArgs, match=f"token {taken.token.hex()} is the one of another"):
            net.store.offer(b"", taken.token)

    async def test_there_is_a_limit_to_offers(self, net: Net) -> None:
        offers = [net.store.offer(b"") for _ in range(OFFERS_LIMIT)]
        with pytest.raises(InvalidArgs, match=f"{OFFERS_LIMIT} blobs are offered"):
            net.store.offer(b"")
        offers[7].close()
        net.store.offer(b"")

    async def test_a_closed_store_offers_nothing_and_tells_those_who_read(self, net: Net) -> None:
        link = net.link()
        offer = await net.offer()
        blob = link.offered(offer)
        await soon(anext(blob))
        await soon(net.store.close())
        assert offer.closed == "the source stops"
        with pytest.raises(Refused):
            await soon(rest_of(blob))
        with pytest.raises(InvalidArgs, match="0 may be"):
            net.store.offer(b"")

    async def test_a_fetch_behind_the_end_is_refused(self, net: Net) -> None:
        link = net.link()
        offer = await net.offer()
        link._up(Fetch(offer.token, len(DATA) + 1, 1))
        await until(lambda: link.seen)
        assert isinstance(link.seen[0], Refusal)
        assert offer.taken == frozenset()

    async def test_a_fetch_of_nothing_sends_nothing(self, net: Net) -> None:
        link = net.link()
        link._up(Fetch((await net.offer()).token, 0, 0))
        await turns()
        assert link.seen == []

    async def test_a_fetch_of_very_much_sends_a_window_at_most(self, net: Net) -> None:
        link = net.link()
        offer = net.store.offer(await net.store.prepare(bytes(1000), 1))
        for _ in range(3):
            link._up(Fetch(offer.token, 0, 2**40))
        await until(lambda: len(chunks_seen(link)) >= 64)
        await until(lambda: net.store._pumping is not None and net.store._pumping.done())
        assert max(chunks_seen(link)) == 63


class HeldRead:
    """A store that is in the midst of reading the first chunk, and what it sends then."""

    def __init__(self, net: Net, offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.key = "rc-a", b""
        self.sent: list[int] = []
        self.net = net
        self.token = offer.token
        self._reading, self._go_on = threading.Event(), threading.Event()
        part = offer.part

        def held(offset: int, understood: Sequence[str]) -> BlobPart:
            self._reading.set()
            assert self._go_on.wait(10)
            return part(offset, understood)

        monkeypatch.setattr(offer, "part", held)

    def ask(self, offset: int, chunks: int) -> None:
        self.net.store.on_fetch(self.key, Fetch(self.token, offset, chunks), self._send)

    async def reading(self) -> None:
        await until(self._reading.is_set)

    async def finish(self) -> None:
        self._go_on.set()
        pumping = self.net.store._pumping
        assert pumping is not None
        await soon(pumping)

    def _send(self, message: Chunk | Refusal, blobs: Sequence[bytes]) -> bool:
        assert isinstance(message, Chunk)
        self.sent.append(message.offset)
        return True


class TestWhileAChunkIsRead:
    async def test_a_client_that_goes_is_sent_nothing_more(
        self, net: Net, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = HeldRead(net, await net.offer(), monkeypatch)
        held.ask(0, 8)
        await held.reading()
        net.store.forget(held.key)
        await held.finish()
        assert held.sent == []

    async def test_a_fetch_from_elsewhere_replaces_the_one_before(
        self, net: Net, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = HeldRead(net, await net.offer(), monkeypatch)
        held.ask(0, 8)
        await held.reading()
        held.ask(5 * CHUNK, 2)
        await held.finish()
        assert held.sent == [5 * CHUNK, 6 * CHUNK]

    async def test_a_fetch_that_goes_on_adds_to_the_one_before(
        self, net: Net, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = HeldRead(net, await net.offer(), monkeypatch)
        held.ask(0, 2)
        await held.reading()
        held.ask(2 * CHUNK, 1)
        await held.finish()
        assert held.sent == [0, CHUNK, 2 * CHUNK]


class TestManyClients:
    async def test_they_take_turns(self, net: Net) -> None:
        links = [net.link(f"rc-{n}", window=4) for n in range(4)]
        offer = await net.offer()
        blobs = [link.offered(offer) for link in links]
        order: list[str] = []
        for link in links:
            link.fault = lambda message, name=link.key[0]: order.append(name) or 1  # type: ignore[misc, func-returns-value]
        got = await soon(asyncio.gather(*(blob.read() for blob in blobs)))
        assert got == [DATA] * 4
        assert set(order[:4]) == set(order[4:8]) == {link.key[0] for link in links}

    async def test_one_that_goes_does_not_hold_up_the_others(self, net: Net) -> None:
        gone, stays = net.link("rc-gone"), net.link("rc-stays")
        offer = await net.offer()
        blobs = gone.offered(offer), stays.offered(offer)
        reading = [asyncio.create_task(blob.read()) for blob in blobs]
        await until(lambda: blobs[0].progress)
        gone.cut()
        assert await soon(reading[1]) == DATA
        end(gone.fetcher)
        with pytest.raises(NotConnected, match="the client was stopped"):
            await soon(reading[0])

    async def test_only_those_who_understand_it_get_it_compressed(self, net: Net) -> None:
        plain, packed = net.link("rc-plain"), net.link("rc-packed", [ZSTD])
        data = b"all the same " * 2000
        offer = await net.offer(data)
        assert await soon(plain.offered(offer).read()) == data
        assert net.store.counters.sent_bytes == len(data)
        assert await soon(packed.offered(offer).read()) == data
        assert net.store.counters.sent_bytes < 1.2 * len(data)
        assert {m.encoding for m in packed.seen if isinstance(m, Chunk) and m.size} == {ZSTD}
        assert {m.encoding for m in plain.seen if isinstance(m, Chunk)} == {""}


class TestIterating:
    async def test_blobs_come_by_name_in_order_until_the_end(self, net: Net) -> None:
        link = net.link()
        models, everything = link.fetcher.iterate("model"), link.fetcher.iterate()
        for name in ("model", "map", "model"):
            link.offered(await net.offer(), name)
        first = await soon(anext(models))
        assert await soon(first.read()) == DATA
        end(link.fetcher)
        assert [blob.name async for blob in models] == ["model"]
        assert [blob.name async for blob in everything] == ["model", "map", "model"]

    async def test_an_iteration_waits_for_the_next(self, net: Net) -> None:
        link = net.link()
        waiting = asyncio.create_task(anext(link.fetcher.iterate()))
        await turns()
        blob = link.offered(await net.offer())
        assert await soon(waiting) is blob

    async def test_one_that_is_behind_drops_the_oldest_and_counts(self, net: Net) -> None:
        link = net.link()
        iterator = link.fetcher.iterate(limit=2)
        offer = await net.offer()
        for name in "abc":
            link.offered(offer, name)
        assert link.fetcher.wants("z")
        await iterator.aclose()
        assert not link.fetcher.wants("z")
        assert iterator.dropped == 1
        assert [blob.name async for blob in iterator] == ["b", "c"]
        link.offered(offer, "d")
        assert [blob.name async for blob in iterator] == []
        assert link.fetcher.counters.unwanted == 1

    async def test_a_payload_that_offers_one_is_of_use_only_to_who_iterates(self, net: Net) -> None:
        fetcher, offer = net.link().fetcher, await net.offer()
        payload = Payload("model", None, offer.token, "src")
        assert fetcher.offered(payload, offer.facts) == NOBODY
        blobs = fetcher.iterate("model")
        assert fetcher.offered(payload, offer.facts) == ""
        blob = await soon(anext(blobs))
        assert (blob.token, blob.source) == (offer.token, "src")
        assert fetcher.offered(payload, [1]).startswith("blob=[1]:")

    async def test_after_the_end_nothing_can_be_read(self, net: Net) -> None:
        link = net.link()
        blob, empty = link.offered(await net.offer()), link.offered(await net.offer(b""))
        end(link.fetcher)
        for each in (blob, empty):
            with pytest.raises(NotConnected, match="blob 'model': the client was stopped"):
                await each.read()
        link.join()
        assert await soon(link.offered(await net.offer()).read()) == DATA


SIZE = 256 * 1024 * 1024
EXTRA = 32 * 1024 * 1024


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "large"
    block = random.Random(7).randbytes(1024 * 1024)
    with path.open("wb") as file:
        for at in range(SIZE // len(block)):
            file.write(at.to_bytes(8, "big") + block[8:])
    yield path
    path.unlink()


async def test_a_quarter_of_a_gigabyte_flows_in_little_memory(
    net: Net, large: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy"
    link = net.link()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        offer = net.store.offer(await net.store.prepare(large))
        async with asyncio.timeout(50):
            await link.offered(offer).save(target)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < EXTRA
    with large.open("rb") as a, target.open("rb") as b:
        assert (
            hashlib.file_digest(a, "sha256").digest() == hashlib.file_digest(b, "sha256").digest()
        )
    target.unlink()


async def test_a_blob_travels_over_real_sockets(tmp_path: Path) -> None:
    store, transport = BlobStore(), ZmqTransport()
    connected = asyncio.Event()
    path = tmp_path / "source"
    path.write_bytes(DATA * 100)

    def send(peer: bytes, message: Chunk | Refusal, blobs: Sequence[bytes]) -> bool:
        return router.send(peer, to_frame(message), blobs) is Delivery.SENT

    def at_source(peer: bytes, frame: bytes, blobs: Sequence[bytes]) -> None:
        message = from_frame(frame)
        assert isinstance(message, Fetch)
        store.on_fetch(("rc-a", b""), message, partial(send, peer), [ZSTD])

    def at_client(frame: bytes, blobs: Sequence[bytes]) -> None:
        message = from_frame(frame)
        assert isinstance(message, Chunk)
        fetcher.on_chunk(message, blobs[0])

    def on_connected(up: bool) -> None:
        if up:
            connected.set()

    try:
        router = transport.router("tcp://127.0.0.1:0", at_source)
        dealer = transport.dealer(router.endpoint, at_client, on_connected)
        fetcher = Fetcher(lambda fetch: dealer.send(to_frame(fetch)))
        await soon(connected.wait())
        offer = store.offer(await store.prepare(path))
        await soon(fetcher.offer("model", offer.token, offer.facts).save(tmp_path / "target"))
        assert (tmp_path / "target").read_bytes() == DATA * 100
        await soon(offer.when_taken("a"))
        end(fetcher)
    finally:
        await store.close()
        await transport.close()


def test_every_example_of_the_page_prints_what_it_says() -> None:
    page = Path(__file__).parents[3] / "docs" / "payloads.md"
    told = [(example.line, example.printed or "") for example in examples(page)]
    assert len(told) == 4
    assert [(example.line, text) for example, text in run(page)] == told
