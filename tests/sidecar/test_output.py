"""What is printed is cut into lines without losing any of it, and passed on without waiting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from amzmq.sidecar.output import Line, LineSplitter, Outlet, Tap

PATIENCE_S = 10.0


def split(pieces: list[bytes], limit: int) -> list[Line]:
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.end()


@given(
    st.lists(st.text(st.sampled_from("abä€\U0001f600"), max_size=30), max_size=8),
    st.integers(1, 20),
    st.integers(4, 12),
)
def test_lines_are_the_same_however_they_arrive(lines: list[str], size: int, limit: int) -> None:
    data = "\n".join(lines).encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    told = split(pieces, limit)
    assert told == split([data], limit)
    whole = [""]
    for line in told:
        whole[-1] += line.text
        if line.is_whole:
            whole.append("")
    assert "\n".join(whole).rstrip("\n") == "\n".join(lines).rstrip("\n")
    assert all(0 < len(line.text.encode()) <= limit for line in told if not line.is_whole)


def test_bytes_that_are_no_text_are_written_out() -> None:
    assert split([b"a\xff\xfeb\n"], 100) == [Line("a\\xff\\xfeb", True)]


def test_continuation_bytes_alone_are_cut_all_the_same() -> None:
    told = split([b"\x80" * 10 + b"\n"], 4)
    assert "".join(line.text for line in told) == "\\x80" * 10


def test_no_output_is_no_line() -> None:
    assert split([], 10) == []


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        for descriptor in (read, write):
            try:
                os.close(descriptor)
            except OSError:
                assert descriptor >= 0  # closed by who owns it


async def test_a_slow_reader_makes_the_application_wait_and_then_gets_everything() -> None:
    source_read, source_write = os.pipe()
    with pipe() as (read, write):
        outlet = Outlet(write)
        tap = Tap(source_read, outlet.write)
        outlet.join(tap)
        data = os.urandom(3 * 1024 * 1024)

        async def produce() -> None:
            await asyncio.to_thread(_write_all, source_write, data)

        producing = asyncio.create_task(produce())
        async with asyncio.timeout(PATIENCE_S):
            while not tap.is_paused:  # nobody reads: it has to come to this
                await asyncio.sleep(0.001)
            assert not producing.done()
            got = await asyncio.to_thread(_read_all, read, len(data))
            await producing
            await outlet.flush(PATIENCE_S)
            await tap.ended
        assert got == data
        assert outlet.lost == 0


async def test_a_reader_that_went_away_costs_its_output_and_nothing_else() -> None:
    read, write = os.pipe()
    os.close(read)
    outlet = Outlet(write)
    outlet.write(b"12345")
    await outlet.flush(PATIENCE_S)
    outlet.write(b"678")
    assert outlet.lost == 8
    os.close(write)


async def test_what_nobody_reads_in_time_is_counted() -> None:
    with pipe() as (_, write):
        outlet = Outlet(write)
        outlet.write(bytes(1024 * 1024))
        await outlet.flush(0.05)
        assert 0 < outlet.lost < 1024 * 1024


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.close(descriptor)


def _read_all(descriptor: int, size: int) -> bytes:
    parts = []
    while size:
        parts.append(os.read(descriptor, 65536))
        size -= len(parts[-1])
    return b"".join(parts)
