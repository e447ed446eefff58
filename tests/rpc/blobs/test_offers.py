"""Blobs are offered, read by many, and iterated over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from amzmq.errors import InvalidArgs, NotConnected, Refused, RpcError
from amzmq.rpc.blobs.blobstore import OFFERS_LIMIT, BlobStore, Offer
from amzmq.rpc.blobs.fetcher import NOBODY
from amzmq.rpc.payload import Payload
from amzmq.wire.blobsource import BlobPart
from amzmq.wire.compression import ZSTD
from amzmq.wire.control import Chunk, Fetch, Refusal
from tests.rpc.blobs.rig import CHUNK, DATA, Net, chunks_seen, end, rest_of
from tests.rpc.rig import soon, turns, until


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

    async def test_who_asks_for_more_than_there_is_is_told_where_it_ends(self, net: Net) -> None:
        link = net.link()
        offer = await net.offer()
        link._up(Fetch(offer.token, 20 * CHUNK, 2))
        await until(lambda: len(link.seen) == 2)
        assert link.seen[1] == Chunk(offer.token, len(DATA), 0)
        link._up(Fetch(offer.token, 20 * CHUNK, 1))
        await until(lambda: len(link.seen) == 3)
        await turns()
        assert len(link.seen) == 3
        assert offer.taken == frozenset()

    async def test_a_confirmation_of_less_than_all_is_refused(self, net: Net) -> None:
        link = net.link()
        offer = await net.offer()
        link._up(Fetch(offer.token, 0, 0))
        await until(lambda: link.seen)
        assert [type(message) for message in link.seen] == [Refusal]
        assert offer.taken == frozenset()

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
