"""Blobs in calls that block: offered, fetched, saved, and told of when they cannot be."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from amzmq import blocking
from amzmq.errors import (
    BlockingWait,
    DestinationUnknown,
    InvalidArgs,
    NotConnected,
    Refused,
    RpcError,
)
from amzmq.wire.blobs import WINDOW

from .rig import NOBODY, PATIENCE_S, QUICK, Threads, loop_threads, machine, until

MIB = 1024 * 1024
DATA = random.Random(5).randbytes(5 * MIB + 7)


@contextmanager
def joined() -> Iterator[tuple[blocking.Mux, blocking.Client, blocking.BlobIterator]]:
    """A mux, a client of it, and what the client is offered."""
    with (
        blocking.Mux(machine()) as mux,
        blocking.Client(mux.addr, name="reader", **QUICK) as client,
    ):
        yield mux, client, client.blobs("model", timeout=PATIENCE_S)


def test_bytes_arrive_as_they_are_and_the_sender_is_told() -> None:
    with joined() as (mux, _, blobs):
        offer = mux.send_blob("model", DATA, timeout=PATIENCE_S)
        assert (offer.size, offer.taken, offer.closed) == (len(DATA), frozenset(), "")
        blob = next(blobs)
        assert (blob.name, blob.size, blob.source) == ("model", len(DATA), "src")
        assert blob.token == offer.token
        assert (blob.begun, blob.progress) == (False, 0)
        assert blob.read(timeout=PATIENCE_S) == DATA
        assert (blob.begun, blob.progress) == (True, len(DATA))
        offer.when_taken("reader", timeout=PATIENCE_S)
        assert offer.taken == {"rc-reader"}
        assert offer.progress == {"rc-reader": len(DATA)}


def test_a_file_arrives_as_a_file_and_progress_is_told_up_to_its_end(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(DATA)
    told: list[tuple[int, int]] = []
    with joined() as (mux, _, blobs):
        mux.send_blob("model", source)
        next(blobs).save(target, lambda *now: told.append(now), timeout=PATIENCE_S)
        assert target.read_bytes() == DATA
    assert told == sorted(set(told))
    assert told[-1] == (len(DATA), len(DATA))
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_a_for_loop_gets_the_chunks_in_order_and_no_more_is_fetched_than_is_read() -> None:
    with joined() as (mux, client, blobs):
        offer = mux.send_blob("model", DATA, chunk_size=MIB // 16)
        assert offer.chunk_size == MIB // 16
        blob = next(blobs)
        got = [next(blob)]
        until(lambda: blob.progress >= WINDOW // 2 * offer.chunk_size)
        got.append(next(blob))
        client.sync()
        assert blob.progress <= (WINDOW + 2) * offer.chunk_size
        got.extend(blob)
        assert {len(chunk) for chunk in got[:-1]} == {offer.chunk_size}
        assert b"".join(got) == DATA
        assert blob.next() is None


def test_both_ways_at_once() -> None:
    with joined() as (here, _, from_here), joined() as (there, _, from_there):
        got: dict[str, bytes] = {}

        def fetch(way: str, blobs: blocking.BlobIterator) -> None:
            got[way] = next(blobs).read(timeout=PATIENCE_S)

        with Threads() as threads:
            threads.run(lambda: fetch("here", from_here))
            threads.run(lambda: fetch("there", from_there))
            here.send_blob("model", DATA)
            there.send_blob("model", DATA[::-1])
        assert got == {"here": DATA, "there": DATA[::-1]}


def test_one_client_alone_can_be_offered_a_blob() -> None:
    with joined() as (mux, client, blobs), blocking.Client(mux.addr, name="other") as other:
        others = other.blobs()
        mux.send_blob("model", b"for one", destination="reader")
        assert next(blobs).read(timeout=PATIENCE_S) == b"for one"
        with pytest.raises(DestinationUnknown, match="nobody"):
            mux.send_blob("model", DATA, destination="nobody")
        other.stop()
        client.stop()
        assert list(others) == list(blobs) == []


def test_a_timeout_loses_no_offer_and_no_chunk() -> None:
    with joined() as (mux, _, blobs):
        with pytest.raises(blocking.TimedOut, match=r"blobs\(\).*timeout=0\.01"):
            blobs.next(timeout=0.01)
        mux.send_blob("model", DATA)
        blob = next(blobs)
        got: list[bytes] = []
        timeouts = 0
        while True:
            try:
                chunk = blob.next(timeout=0 if timeouts < 3 else PATIENCE_S)
            except blocking.TimedOut:
                timeouts += 1
                continue
            if chunk is None:
                break
            got.append(chunk)
        assert timeouts
        assert b"".join(got) == DATA


def test_who_waits_for_a_taker_may_have_enough_of_it() -> None:
    with joined() as (mux, _, _):
        offer = mux.send_blob("model", DATA)
        with pytest.raises(blocking.TimedOut):
            offer.when_taken("reader", timeout=0.01)
        offer.close("enough")
        offer.close("again")
        assert (offer.closed, offer.expired) == ("enough", False)
        with pytest.raises(RpcError, match="enough"):
            offer.when_taken("reader", timeout=PATIENCE_S)


def test_what_is_no_longer_offered_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with joined() as (mux, _, blobs):
        mux.send_blob("model", DATA).close()
        with pytest.raises(Refused):
            next(blobs).save(tmp_path / "target", timeout=PATIENCE_S)
        mux.send_blob("model", DATA).close()
        blob = next(blobs)
        for _ in range(2):
            with pytest.raises(Refused):
                next(blob)
    assert [*tmp_path.iterdir()] == []


def test_what_was_read_in_part_is_not_read_again() -> None:
    with joined() as (mux, _, blobs):
        mux.send_blob("model", DATA)
        blob = next(blobs)
        next(blob)
        with pytest.raises(RpcError, match="read already"):
            blob.read()


def test_what_is_no_blob_is_the_caller_s_error(tmp_path: Path) -> None:
    with joined() as (mux, _, _), pytest.raises(InvalidArgs, match="absent"):
        mux.send_blob("model", tmp_path / "absent")
    with pytest.raises(NotConnected):
        mux.send_blob("model", DATA)


def test_who_reads_when_the_client_stops_is_told() -> None:
    with joined() as (mux, client, blobs):
        # Larger than what is fetched ahead, so its end cannot be there already.
        mux.send_blob("model", DATA)
        mux.send_blob("model", DATA)
        blob, unread = next(blobs), next(blobs)
        next(blob)
        client.stop()
        for one in (blob, unread):
            with pytest.raises(NotConnected):
                next(one)
        with pytest.raises(NotConnected):
            unread.read()
        assert list(blobs) == []


def test_a_thread_that_waits_for_an_offer_ends_with_the_iterator_or_the_client() -> None:
    with joined() as (_, client, blobs), Threads() as threads:
        ended: list[object] = []
        for iterator in (blobs, client.blobs()):
            began = threading.Event()

            def wait(
                iterator: blocking.BlobIterator = iterator, began: threading.Event = began
            ) -> None:
                began.set()
                ended.append(iterator.next())

            threads.run(wait)
            assert began.wait(PATIENCE_S)
        blobs.close()
        client.stop()
        threads.join()
        assert ended == [None, None]


def test_offers_that_nobody_takes_are_dropped_and_counted() -> None:
    with joined() as (mux, client, _), client.blobs(limit=2, timeout=PATIENCE_S) as blobs:
        for number in range(5):
            mux.send_blob("n", b"." * number)
        client.sync()
        assert blobs.dropped == 3
        assert [next(blobs).size for _ in range(2)] == [3, 4]


def test_what_an_offer_came_to_is_known_after_the_end() -> None:
    with joined() as (mux, _, blobs):
        offer, other = mux.send_blob("model", b"few"), mux.send_blob("model", b"bytes")
        assert next(blobs).read(timeout=PATIENCE_S) == b"few"
        offer.when_taken("rc-reader", timeout=PATIENCE_S)
    assert offer.taken == {"rc-reader"}
    assert other.taken == frozenset()
    assert offer.closed == other.closed == "the source stops"
    assert loop_threads() == 0


def test_on_an_event_loop_it_is_refused_and_not_waited_for() -> None:
    with joined() as (mux, _, blobs):
        mux.send_blob("model", DATA)
        blob = next(blobs)

        async def each() -> None:
            for blocks in (lambda: mux.send_blob("model", DATA), blob.read, blob.next, blobs.next):
                with pytest.raises(BlockingWait):
                    blocks()

        asyncio.run(each())
        assert blob.read(timeout=PATIENCE_S) == DATA


def test_those_of_a_client_that_does_not_run() -> None:
    client = blocking.Client(NOBODY)
    blobs = client.blobs()
    with pytest.raises(NotConnected, match="start"):
        next(blobs)
    client.stop()
    assert list(blobs) == list(client.blobs()) == []
