"""A source for blocking clients, here or on a loop of its own, and ways to use many threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from amzmq import Machine, Mux, State, blocking
from amzmq.machine import Event, Schema

PATIENCE_S = 10.0

SCHEMA: Schema = {
    "Start": State(),
    "Ready": State(auto=True, require=["Start"]),
    "Msg": State(multi=True),
    "Hang": State(multi=True),
    "Never": State(require=["Absent"]),
    "Absent": State(),
    "ErrDisk": State(require=["Exception"]),
}

# Small enough that no test waits for the defaults, large enough for a busy computer.
QUICK: dict[str, Any] = {"conn_retry_delay": 0.005, "conn_retry_backoff": 0.02}

NOBODY = "tcp://127.0.0.1:1"


def machine(**options: Any) -> Machine:
    """A source."""
    return Machine(SCHEMA, id="src", queue_limit=100_000, **options)


@contextmanager
def following(source: Machine, name: str = "reader") -> Iterator[blocking.Client]:
    """A blocking client of a machine that a blocking mux serves."""
    with (
        blocking.Mux(source, bind="tcp://127.0.0.1:0") as mux,
        blocking.Client(mux.addr, name=name, **QUICK) as client,
    ):
        yield client


class Hanging:
    """A source on an event loop of its own; adding Hang there holds it up until `go_on`."""

    def __init__(self) -> None:
        self.machine = machine(handler_timeout=2 * PATIENCE_S)
        self.hangs = threading.Event()
        self.go_on = threading.Event()
        self.addr = ""
        self.machine.bind({"HangState": self._hang})
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def _hang(self, e: Event) -> None:
        self.hangs.set()
        assert self.go_on.wait(PATIENCE_S)

    async def _serve(self) -> None:
        # So slow a heart that nobody is given up meanwhile.
        async with Mux(self.machine, bind="tcp://127.0.0.1:0", heartbeat=PATIENCE_S) as mux:
            self.addr = mux.addr
            self._up.set()
            await self.machine.when_disposed()

    def __enter__(self) -> Hanging:
        self._thread.start()
        assert self._up.wait(PATIENCE_S)
        return self

    def __exit__(self, *exception: object) -> None:
        self.go_on.set()
        self.machine.dispose()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


class Threads:
    """Threads that are joined at the end; what one of them raised is raised then."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    def run(self, work: Callable[[], object]) -> None:
        """Have `work` done on a thread of its own."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)

        self._threads.append(threading.Thread(target=guarded))
        self._threads[-1].start()

    def join(self) -> None:
        """Wait for all of them."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.join()
        if kind is None and self.errors:
            raise self.errors[0]


def until(condition: Callable[[], object]) -> None:
    """Wait for what has no event of its own; a test that never gets there fails."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def loop_threads() -> int:
    """How many loop threads there are."""
    return sum(thread.name == "amzmq-blocking" for thread in threading.enumerate())
