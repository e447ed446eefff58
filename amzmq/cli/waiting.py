"""The commands that wait for states: when, when-not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer

from amzmq.cli import session
from amzmq.cli.arguments import (
    CONNECT_TIMEOUT,
    Addr,
    Args,
    ConnectTimeout,
    MachineId,
    StateNames,
    parse_args,
)
from amzmq.cli.outcome import BAD
from amzmq.machine import Wait
from amzmq.rpc.client.client import Client
from amzmq.rpc.replica.netmach import NetworkMachine

Timeout = Annotated[
    float | None,
    typer.Option(min=0.0, help="Seconds to wait at most; for ever if not given."),
]


def when(
    addr: Addr,
    states: StateNames,
    timeout: Timeout = None,
    arg: Args = None,
    machine: MachineId = "",
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Wait until all the states are active at once. Exit status 1 when the time runs out.

    With --arg it waits for the next time that the one state is activated with these arguments.

    Example: amzmq when tcp://127.0.0.1:7701 Ready --timeout 30

    Example: amzmq when tcp://127.0.0.1:7701 Bell --arg user=42
    """
    args = parse_args(arg)
    if args is not None and len(states) != 1:
        raise typer.BadParameter(f"--arg is about one state, not {len(states)}")

    def condition(replica: NetworkMachine) -> Wait:
        return replica.when(*states) if args is None else replica.when_args_of(states[0], args)

    problem = f"{' '.join(states)} not active" + ("" if args is None else f" with {args}")
    _wait(addr, machine, connect_timeout, condition, timeout, problem)


def when_not(
    addr: Addr,
    states: StateNames,
    timeout: Timeout = None,
    machine: MachineId = "",
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Wait until all the states are inactive at once. Exit status 1 when the time runs out.

    Example: amzmq when-not tcp://127.0.0.1:7701 Busy Starting --timeout 30
    """
    _wait(
        addr,
        machine,
        connect_timeout,
        lambda replica: replica.when_not(*states),
        timeout,
        f"{' '.join(states)} not inactive",
    )


def _wait(
    addr: str,
    machine: str,
    connect_timeout: float,
    condition: Callable[[NetworkMachine], Wait],
    timeout: float | None,
    problem: str,
) -> None:
    async def question(client: Client) -> tuple[bool, str]:
        replica = client.net_mach
        wait = condition(replica)
        if not wait.done():  # a timeout of 0 is a plain question
            try:
                async with asyncio.timeout(timeout):
                    await session.while_connected(client, wait)
            except TimeoutError:
                pass  # told by the wait
        return wait.done(), str(replica)

    met, now = session.run(session.ask(addr, connect_timeout, machine, question))
    if met:
        print(now)
        return
    typer.echo(f"amzmq: {problem} within {timeout:g} s: {now}", err=True)
    raise typer.Exit(BAD)
