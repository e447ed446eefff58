"""One command's connection to a source, and what ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from amzmq.cli.arguments import Source
from amzmq.cli.outcome import INTERRUPTED, fail, one_line_errors
from amzmq.cli.security import Credentials
from amzmq.cli.waits import first_of
from amzmq.errors import ConnectFailed, NotConnected
from amzmq.rpc.client.client import Client
from amzmq.rpc.listing import MachineInfo, list_machines

_T = TypeVar("_T")

ATTEMPTS = 3
"""Attempts that the time for connecting is divided into: one alone might meet a restart."""


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a command's coroutine; our errors become one line and status 2."""
    with one_line_errors():
        try:
            return asyncio.run(main)
        except (ConnectFailed, NotConnected) as error:
            # From here a port that is closed and a key that is wrong look the same.
            fail(f"{error}; amzmq doctor, with the same address and keys, looks closer")
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def client(source: Source) -> Client:
    """A client that tries to connect for as long as is wanted.

    Raises:
        SecurityUnfit: A key cannot be used.
    """
    keys = source.credentials.keys()
    # Without a name every run is another client to the source, so two shells do not disturb.
    return Client(
        source.addr,
        machine=source.machine,
        conn_timeout=source.connect_timeout / ATTEMPTS,
        conn_retries=ATTEMPTS - 1,
        curve=keys,
        server_key=source.credentials.server_key or None,
    )


async def ask(source: Source, question: Callable[[Client], Awaitable[_T]]) -> _T:
    """Connect, ask, disconnect.

    Raises:
        ConnectFailed: The source cannot be reached.
        Refused: There is no such machine.
        SecurityUnfit: A key cannot be used.
    """
    async with client(source) as connected:
        return await question(connected)


async def listed(addr: str, timeout: float, credentials: Credentials) -> list[MachineInfo]:
    """The machines that are served at an address.

    Args:
        addr: The address.
        timeout: Seconds to wait for the answer.
        credentials: With which keys to ask.

    Raises:
        NotConnected: Nobody answers there in time.
        SecurityUnfit: A key cannot be used.
    """
    transport = credentials.transports()()
    try:
        return await list_machines(addr, timeout, transport)
    finally:
        await transport.close()


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
