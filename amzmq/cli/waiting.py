"""The commands that wait for states: when, when-not."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from amzmq.cli import session
from amzmq.cli.arguments import CONNECT_TIMEOUT, Addr, ConnectTimeout, StateNames
from amzmq.cli.outcome import BAD
from amzmq.rpc.client import Client

Timeout = Annotated[
    float | None,
    typer.Option(min=0.0, help="Seconds to wait at most; for ever if not given."),
]


def when(
    addr: Addr,
    states: StateNames,
    timeout: Timeout = None,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Wait until all the states are active at once. Exit status 1 when the time runs out.

    Example: amzmq when tcp://127.0.0.1:7701 Ready --timeout 30
    """
    _wait(addr, states, timeout, connect_timeout, active=True)


def when_not(
    addr: Addr,
    states: StateNames,
    timeout: Timeout = None,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Wait until all the states are inactive at once. Exit status 1 when the time runs out.

    Example: amzmq when-not tcp://127.0.0.1:7701 Busy Starting --timeout 30
    """
    _wait(addr, states, timeout, connect_timeout, active=False)


def _wait(
    addr: str, states: list[str], timeout: float | None, connect_timeout: float, active: bool
) -> None:
    async def question(client: Client) -> tuple[bool, str]:
        replica = client.net_mach
        condition = replica.when(*states) if active else replica.when_not(*states)
        if not condition.done():  # a timeout of 0 is a plain question
            try:
                async with asyncio.timeout(timeout):
                    await session.while_connected(client, condition)
            except TimeoutError:
                pass
        return condition.done(), str(replica)

    met, now = session.run(session.ask(addr, connect_timeout, question))
    if met:
        print(now)
        return
    wanted = "active" if active else "inactive"
    typer.echo(f"amzmq: {' '.join(states)} not {wanted} within {timeout:g} s: {now}", err=True)
    raise typer.Exit(BAD)
