"""Large blobs, real sockets, and the examples of the page."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from amzmq.net import Delivery, ZmqTransport
from amzmq.rpc.blobs.blobstore import BlobStore
from amzmq.rpc.blobs.fetcher import Fetcher
from amzmq.wire.compression import ZSTD
from amzmq.wire.control import Chunk, Fetch, Refusal
from amzmq.wire.control_frames import from_frame, to_frame
from tests.docs.examples import examples, run
from tests.rpc.blobs.rig import DATA, Net, end
from tests.rpc.rig import soon

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
