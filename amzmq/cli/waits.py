"""Waiting for whichever of several things happens first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def first_of(*waiting: Awaitable[object], timeout: float | None = None) -> None:
    """Wait until one of them is done, or the time is up; the others are cancelled.

    An error that ended one of them is raised here.
    """
    tasks = [asyncio.ensure_future(_done(each)) for each in waiting]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _done(waiting: Awaitable[object]) -> None:
    await waiting
