"""What the for loops of the twins rest on, with a source that does as the test wants."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

import pytest

from amzmq.blocking.line import Line
from amzmq.blocking.taking import Taker

from .rig import PATIENCE_S, Threads


async def _nothing() -> None: ...


def test_an_error_is_raised_once_and_what_comes_after_it_is_had() -> None:
    coming: deque[int | Exception] = deque([1, ValueError("two"), 3])

    async def step() -> int:
        item = coming.popleft()
        if isinstance(item, Exception):
            raise item
        return item

    line = Line("test", _nothing)
    line.open()
    try:
        taker = Taker(line, "numbers", step, batch=1)
        assert taker.next(PATIENCE_S) == 1
        with pytest.raises(ValueError, match="two"):
            taker.next(PATIENCE_S)
        assert taker.next(PATIENCE_S) == 3
    finally:
        line.close()


def test_who_is_cut_off_by_the_end_of_the_line_still_gets_what_is_left() -> None:
    left: list[int] = []
    ended = asyncio.Event()
    waits = threading.Event()

    async def step() -> int:
        if left:
            return left.pop()
        if ended.is_set():
            raise StopAsyncIteration
        waits.set()
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never

    async def farewell() -> None:
        left.append(1)
        ended.set()

    line = Line("test", farewell)
    line.open()
    taker = Taker(line, "numbers", step, batch=2)
    got: list[int | None] = []
    with Threads() as threads:
        threads.run(lambda: got.extend([taker.next(), taker.next()]))
        try:
            assert waits.wait(PATIENCE_S)
        finally:
            line.close()
    assert got == [1, None]
