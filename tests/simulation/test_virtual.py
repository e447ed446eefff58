"""The event loop whose clock jumps."""

from __future__ import annotations

import asyncio
import random
import secrets
import time

import pytest

from bench import virtual


def test_an_hour_passes_at_once_and_in_order() -> None:
    order: list[str] = []

    async def later(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def main() -> float:
        await asyncio.gather(later(1800, "second"), later(2, "first"))
        return asyncio.get_running_loop().time()

    started = time.monotonic()
    assert virtual.run(main()) == pytest.approx(1800)
    assert time.monotonic() - started < 1800
    assert order == ["first", "second"]


def test_whoever_waits_for_nothing_is_found_out() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(virtual.Stuck, match="no timer is set"):
        virtual.run(main())


def test_what_never_ends_is_found_out() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(10)

    with pytest.raises(virtual.Stuck, match="not over"):
        virtual.run(main())


def test_what_is_random_comes_from_the_seed_and_only_inside() -> None:
    def draw() -> tuple[float, bytes, str]:
        return random.Random().random(), secrets.token_bytes(8), secrets.token_hex(8)

    with virtual.determined(1):
        first = draw()
    with virtual.determined(1):
        assert draw() == first
    with virtual.determined(2):
        assert draw() != first
    assert draw() != draw()
