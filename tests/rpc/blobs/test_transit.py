"""Blobs through nodes between: shared runs, bounded memory, errors of whom they are."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tracemalloc
from pathlib import Path

import pytest

from amzmq.errors import Refused
from amzmq.rpc.blobs.transit import ASKS_LIMIT, KEPT
from amzmq.wire.compression import ZSTD
from amzmq.wire.control import Chunk, Fetch, Refusal, RefusalCode
from tests.rpc.blobs.rig import CHUNK, DATA, Net, chunks_seen, rest_of
from tests.rpc.rig import soon, turns, until

CHUNKS = len(DATA) // CHUNK + 1
LONG = random.Random(9).randbytes(200 * CHUNK + 5)


async def test_a_blob_comes_through_two_nodes_and_its_confirmation_goes_up(net: Net) -> None:
    top = net.hop("rc-top")
    low = net.hop("rc-low", below=top)
    link = net.link("rc-a", below=low)
    offer = await net.offer()
    assert await soon(link.offered(offer).read()) == DATA
    await soon(offer.when_taken("rc-top"))
    await until(lambda: not link.fetcher._confirming)
    assert net.store.counters.chunks == CHUNKS
    for hop in (top, low):
        assert hop.transit.counters.blob_chunks_in == CHUNKS + 1  # and what confirms
        assert hop.transit._passages == {}


async def test_an_empty_blob_is_confirmed_through_a_node(net: Net) -> None:
    link = net.link(below=net.hop("rc-hop"))
    offer = await net.offer(b"")
    assert await soon(link.offered(offer).read()) == b""
    await soon(offer.when_taken("rc-hop"))


async def test_who_fetches_at_the_same_time_shares_what_comes_from_above(net: Net) -> None:
    hop = net.hop()
    links = [net.link(f"rc-{n}", below=hop) for n in range(8)]
    offer = await net.offer(LONG)
    blobs = [link.offered(offer) for link in links]
    assert await soon(asyncio.gather(*(blob.read() for blob in blobs))) == [LONG] * 8
    assert net.store.counters.chunks == 201
    assert hop.transit.counters.blob_chunks_in < 201 + 8 + 1
    await until(lambda: not any(link.fetcher._confirming for link in links))


async def test_who_comes_later_gets_all_of_it_too(net: Net) -> None:
    hop = net.hop()
    early, late = net.link("rc-early", below=hop), net.link("rc-late", below=hop)
    offer = await net.offer(LONG)
    first = early.offered(offer)
    got = [await soon(anext(first)) for _ in range(KEPT + 40)]
    both = asyncio.gather(rest_of(first), late.offered(offer).read())
    rest, all_of_it = await soon(both)
    assert b"".join(got) + rest == all_of_it == LONG
    assert len(hop.transit) <= KEPT


async def test_a_reader_that_stops_stops_what_comes_from_above(net: Net) -> None:
    hop = net.hop()
    link = net.link(below=hop)
    blob = link.offered(await net.offer(LONG))
    await soon(anext(blob))
    await turns(200)
    assert net.store.counters.chunks <= 9
    other = net.link("rc-other", below=hop)
    assert await soon(other.fetcher.offer("x", blob.token, blob.reader.offer.facts()).read()) == (
        LONG
    )
    assert len(await soon(rest_of(blob))) == len(LONG) - CHUNK


async def test_a_node_keeps_few_chunks_however_long_the_blob_is(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "long"
    block = random.Random(7).randbytes(1 << 20)
    path.write_bytes(b"".join(at.to_bytes(8, "big") + block[8:] for at in range(96)))
    size = path.stat().st_size
    low = net.hop("rc-low", below=net.hop("rc-top"))
    links = [net.link(f"rc-{n}", below=low) for n in range(2)]

    async def digest(link: int) -> bytes:
        total = hashlib.sha256()
        async for chunk in links[link].offered(offer):
            total.update(chunk)
        return total.digest()

    for link in [*links, *net.hops]:
        link.seen = _Nothing()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        offer = net.store.offer(await net.store.prepare(path))
        digests = await asyncio.wait_for(asyncio.gather(digest(0), digest(1)), 40)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(digests) == {hashlib.sha256(path.read_bytes()).digest()}
    assert peak - before < size / 3
    assert all(len(hop.transit) <= KEPT for hop in net.hops)
    assert net.store.counters.bytes < size * 1.2


class _Nothing(list):  # type: ignore[type-arg]
    """Remembers nothing."""

    def append(self, item: object) -> None:
        pass


async def test_what_is_kept_is_let_go_of_when_nobody_fetches_any_more(net: Net) -> None:
    hop = net.hop(answer_timeout=0.02)
    assert await soon(net.link(below=hop).offered(await net.offer()).read()) == DATA
    assert len(hop.transit) > 0
    await until(lambda: len(hop.transit) == 0 and hop.transit._watch is None)


async def test_whoever_asks_goes_on_at_another_node_or_at_the_source(net: Net) -> None:
    one, two = net.hop("rc-one"), net.hop("rc-two")
    link = net.link(below=one)
    offer = await net.offer(LONG)
    blob = link.offered(offer)
    got = await soon(anext(blob))
    for where in (two.transit, one.transit, net.store, two.transit):
        link.cut()
        link.store = where
        link.join()
        for _ in range(10):
            got += await soon(anext(blob))
    assert got + await soon(rest_of(blob)) == LONG
    await soon(offer.when_taken("rc-two"))
    assert link.fetcher.counters.stalls == 0


async def test_a_node_that_was_away_goes_on_with_what_it_was_asked(net: Net) -> None:
    hop = net.hop()
    link = net.link(below=hop)
    blob = link.offered(await net.offer(LONG))
    got = await soon(anext(blob))
    hop.cut()
    reading = asyncio.ensure_future(rest_of(blob))
    await turns(100)
    assert not reading.done()
    hop.join()
    assert got + await soon(reading) == LONG


class TestErrors:
    async def test_a_refusal_is_that_of_the_source(self, net: Net) -> None:
        low = net.hop("rc-low", below=net.hop("rc-top"))
        link = net.link(below=low)
        offer = await net.offer(LONG, keep=60.0)
        blob = link.offered(offer)
        await soon(anext(blob))
        await until(lambda: not blob.reader.in_flight)
        offer._used_at -= 61.0
        offer._look()
        with pytest.raises(Refused, match="no such blob is offered, or no longer"):
            await soon(rest_of(blob))
        assert net.store.counters.expired == 1
        assert low.transit.counters.blob_refusals == 1
        assert low.transit._passages == {}

    async def test_what_cannot_be_read_any_more_says_so_to_all(
        self, net: Net, tmp_path: Path
    ) -> None:
        path = tmp_path / "data"
        path.write_bytes(LONG)
        hop = net.hop()
        offer = await net.offer(path)
        blobs = [net.link(f"rc-{n}", below=hop).offered(offer) for n in range(2)]
        for blob in blobs:
            await soon(anext(blob))
        await until(lambda: not any(blob.reader.in_flight for blob in blobs))
        path.write_bytes(b"something else")
        ends = await soon(asyncio.gather(*map(rest_of, blobs), return_exceptions=True))
        assert all(isinstance(error, Refused) for error in ends)
        assert any("has changed since it was offered" in str(error) for error in ends)

    async def test_nonsense_of_one_client_does_no_harm_to_another(self, net: Net) -> None:
        hop = net.hop()  # whose runs do not time out within this test
        link, bad = net.link("rc-good", below=hop), net.link("rc-bad", below=hop)
        offer = await net.offer(LONG)
        blob = link.offered(offer)
        got = await soon(anext(blob))
        end = len(LONG)
        for offset, chunks in ((end + 1, 5), (3, 0), (17, 9), (end - 1, 64), (end, 2)):
            answered = len(bad.seen)
            bad._up(Fetch(offer.token, offset, chunks))
            got += await soon(anext(blob))
            await until(lambda answered=answered: len(bad.seen) > answered)
        assert got + await soon(rest_of(blob)) == LONG
        refusals = [message for message in bad.seen if isinstance(message, Refusal)]
        assert len(refusals) == 2
        assert not any(isinstance(message, Refusal) for message in link.seen)

    async def test_the_end_that_one_is_told_of_confirms_nothing_for_another(self, net: Net) -> None:
        hop = net.hop("rc-hop")
        link, bad = net.link(below=hop), net.link("rc-bad", below=hop)
        data = DATA[: 3 * CHUNK]
        offer = await net.offer(data)
        bad._up(Fetch(offer.token, 2 * CHUNK, 9))
        link._up(Fetch(offer.token, len(data), 0))
        await until(lambda: link.seen)
        assert offer.taken == {"rc-hop"}

    async def test_a_request_without_an_answer_holds_nobody_up_for_long(self, net: Net) -> None:
        hop = net.hop(answer_timeout=0.05)
        link = net.link(below=hop, stall_timeout=0.1)
        losing = [1, 2, 3]
        hop.fault = lambda message: 0 if losing and losing.pop() else 1
        blob = link.offered(await net.offer())
        assert await soon(blob.read()) == DATA

    async def test_a_client_may_ask_for_so_many_blobs_at_a_time(self, net: Net) -> None:
        hop = net.hop()
        hop.connected = False
        link = net.link(below=hop)
        for at in range(ASKS_LIMIT + 1):
            link._up(Fetch(at.to_bytes(8, "big"), 0, 1))
        await until(lambda: link.seen)
        (refusal,) = link.seen
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.token) == (RefusalCode.LIMIT, ASKS_LIMIT.to_bytes(8, "big"))
        hop.transit.forget(link.key)
        await turns()
        assert hop.transit._passages == {}

    async def test_one_that_ends_tells_those_who_wait(self, net: Net) -> None:
        hop = net.hop()
        hop.connected = False
        blob = net.link(below=hop).offered(await net.offer())
        reading = asyncio.ensure_future(blob.read())
        await turns()
        hop.transit.end("the client was stopped")
        with pytest.raises(Refused, match="the client was stopped"):
            await soon(reading)
        with pytest.raises(Refused, match="the client was stopped"):
            await soon(net.link("rc-b", below=hop).offered(await net.offer()).read())

    async def test_chunks_that_nobody_asked_for_are_counted_and_not_kept(self, net: Net) -> None:
        hop = net.hop()
        link = net.link(below=hop)
        offer = await net.offer()
        assert await soon(link.offered(offer).read()) == DATA
        await until(lambda: not hop.transit._passages)
        for offset in (0, CHUNK, 5 * CHUNK):
            hop.transit.on_chunk(Chunk(offer.token, offset, CHUNK), b"x" * CHUNK)
        assert hop.transit.counters.blob_chunks_unasked == 3
        assert all(data != b"x" * CHUNK for _, data in hop.transit._kept.values())

    async def test_a_client_that_takes_nothing_is_given_nothing_more(self, net: Net) -> None:
        hop = net.hop()
        link = net.link(below=hop)
        hop.transit.on_fetch(link.key, Fetch((await net.offer()).token, 0, 4), lambda m, b: False)
        await until(lambda: hop.transit.counters.blob_chunks_lost)
        await until(lambda: not hop.transit._passages)
        assert hop.transit.counters.blob_chunks_out == 0


async def test_chunks_stay_compressed_for_those_who_can_read_them(net: Net) -> None:
    hop = net.hop(understood=[ZSTD])
    able, unable = net.link("rc-able", [ZSTD], below=hop), net.link("rc-unable", below=hop)
    data = b"all the same " * 3000
    offer = await net.offer(data)
    blobs = [link.offered(offer) for link in (able, unable)]
    assert await soon(asyncio.gather(*(blob.read() for blob in blobs))) == [data, data]
    for link, encoding in ((able, ZSTD), (unable, "")):
        told = {message.encoding for message in link.seen if isinstance(message, Chunk)}
        assert encoding in told
    assert ZSTD not in {m.encoding for m in unable.seen if isinstance(m, Chunk)}
    assert chunks_seen(able) == chunks_seen(unable)
