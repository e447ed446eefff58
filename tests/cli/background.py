"""Sources beside a test that is not async: on an event loop of their own, in this process."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from amzmq.machine import Machine, State
from amzmq.rpc import Mux

_T = TypeVar("_T")
TIMEOUT = 50.0

DOOR = {
    "Start": State(),
    "Open": State(remove="Closed"),
    "Closed": State(remove="Open"),
    "Alarm": State(require="Open"),
    "Bell": State(multi=True),
}


@contextmanager
def in_background(make: Callable[[], AbstractAsyncContextManager[_T]]) -> Iterator[_T]:
    """What an async context manager gives, which is entered and left on a thread's event loop."""
    entered: queue.Queue[_T | BaseException] = queue.Queue()
    leave = threading.Event()

    async def live() -> None:
        try:
            async with make() as made:
                entered.put(made)
                await asyncio.to_thread(leave.wait)
        except BaseException as error:
            entered.put(error)
            raise

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="background")
    thread.start()
    try:
        made = entered.get(timeout=TIMEOUT)
        if isinstance(made, BaseException):
            raise made
        yield made
    finally:
        leave.set()
        thread.join(TIMEOUT)


@dataclass(frozen=True, slots=True)
class Served:
    """Machines at one address, and the first of them."""

    mux: Mux
    machine: Machine

    @property
    def addr(self) -> str:
        return self.mux.addr


@asynccontextmanager
async def serving(*ids: str, **options: object) -> AsyncIterator[Served]:
    """Doors of these ids at one address, Started and Closed."""
    machines = [Machine(DOOR, id=id) for id in ids]
    for machine in machines:
        machine.add("Start", "Closed")
    async with Mux(machines, **options) as mux:  # type: ignore[arg-type]
        yield Served(mux, machines[0])
    for machine in machines:
        machine.dispose()
