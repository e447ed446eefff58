"""One command's connection to a source, and what ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from amzmq.cli.outcome import INTERRUPTED, one_line_errors
from amzmq.cli.waits import first_of
from amzmq.rpc.client.client import Client

_T = TypeVar("_T")

ATTEMPTS = 3
"""Attempts that the time for connecting is divided into: one alone might meet a restart."""


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a command's coroutine; our errors become one line and status 2."""
    with one_line_errors():
        try:
            return asyncio.run(main)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def client(addr: str, connect_timeout: float, machine: str = "") -> Client:
    """A client that tries to connect for so many seconds; to the default machine without one."""
    # Without a name every run is another client to the source, so two shells do not disturb.
    return Client(
        addr,
        machine=machine,
        conn_timeout=connect_timeout / ATTEMPTS,
        conn_retries=ATTEMPTS - 1,
    )


async def ask(
    addr: str,
    connect_timeout: float,
    machine: str,
    question: Callable[[Client], Awaitable[_T]],
) -> _T:
    """Connect, ask, disconnect.

    Raises:
        ConnectFailed: The source cannot be reached.
        Refused: There is no such machine.
    """
    async with client(addr, connect_timeout, machine) as connected:
        return await question(connected)


async def while_connected(connected: Client, waiting: Awaitable[object]) -> None:
    """Wait, unless the connection is lost for good.

    Raises:
        ConnectFailed: The source went away and did not come back in time.
    """
    await first_of(waiting, connected.mach.when("ConnRetryFailed"))
    if connected.mach.is_("ConnRetryFailed"):
        await connected.ready()


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C and SIGTERM set, for commands that are meant to end so."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
