"""The commands that change states: add, remove, set, toggle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Protocol

import typer

from amzmq.cli import session
from amzmq.cli.arguments import (
    CONNECT_TIMEOUT,
    Addr,
    AsJson,
    ConnectTimeout,
    StateNames,
    parse_args,
    print_json,
)
from amzmq.cli.outcome import BAD
from amzmq.machine import Result
from amzmq.rpc.client import Client
from amzmq.rpc.netmach import NetworkMachine

Args = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="KEY=VALUE", help="An argument for the handlers; repeatable."),
]


class _Mutation(Protocol):
    def __call__(
        self, *states: str, args: dict[str, object] | None = None
    ) -> Awaitable[Result]: ...


def add(
    addr: Addr,
    states: StateNames,
    arg: Args = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Activate states. Exit status 1 when the machine cancels it.

    Example: amzmq add tcp://127.0.0.1:7701 Open --arg user=42
    """
    _mutate(addr, states, arg, as_json, connect_timeout, lambda replica: replica.add)


def remove(
    addr: Addr,
    states: StateNames,
    arg: Args = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Deactivate states. Exit status 1 when the machine cancels it.

    Example: amzmq remove tcp://127.0.0.1:7701 Open
    """
    _mutate(addr, states, arg, as_json, connect_timeout, lambda replica: replica.remove)


def set_(
    addr: Addr,
    states: StateNames,
    arg: Args = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Activate exactly these states. Exit status 1 when the machine cancels it.

    Example: amzmq set tcp://127.0.0.1:7701 Start Closed
    """
    _mutate(addr, states, arg, as_json, connect_timeout, lambda replica: replica.set)


def toggle(
    addr: Addr,
    states: StateNames,
    arg: Args = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Remove the states if all are active, add them otherwise. Exit status 1 when canceled.

    Example: amzmq toggle tcp://127.0.0.1:7701 Lamp --json
    """
    _mutate(addr, states, arg, as_json, connect_timeout, lambda replica: replica.toggle)


def _mutate(
    addr: str,
    states: list[str],
    arg: list[str] | None,
    as_json: bool,
    connect_timeout: float,
    kind: Callable[[NetworkMachine], _Mutation],
) -> None:
    args = parse_args(arg)

    async def question(client: Client) -> tuple[Result, dict[str, int], str]:
        replica = client.net_mach
        result = await kind(replica)(*states, args=args)
        # Whoever awaited the mutation reads its effect.
        return result, replica.clock(), str(replica)

    result, clock, active = session.run(session.ask(addr, connect_timeout, question))
    if as_json:
        print_json({"result": str(result), "clock": clock})
    else:
        print(f"{result} {active}")
    if result == Result.CANCELED:
        raise typer.Exit(BAD)
