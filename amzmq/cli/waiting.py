"""The commands that wait for states: when, when-not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from amzmq.cli.arguments import Args, AsJson, Source, StateNames, parse_args, print_json
from amzmq.cli.groups import grouped
from amzmq.cli.outcome import BAD

if TYPE_CHECKING:
    from amzmq.machine import Wait
    from amzmq.rpc.client.client import Client
    from amzmq.rpc.replica.netmach import NetworkMachine

Timeout = Annotated[
    float | None,
    typer.Option(min=0.0, help="Seconds to wait at most; for ever if not given."),
]


@grouped
def when(
    source: Source,
    states: StateNames,
    timeout: Timeout = None,
    arg: Args = None,
    as_json: AsJson = False,
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
    _wait(source, condition, timeout, as_json, problem)


@grouped
def when_not(
    source: Source, states: StateNames, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Wait until all the states are inactive at once. Exit status 1 when the time runs out.

    Example: amzmq when-not tcp://127.0.0.1:7701 Busy Starting --timeout 30
    """
    problem = f"{' '.join(states)} not inactive"
    _wait(source, lambda replica: replica.when_not(*states), timeout, as_json, problem)


def _wait(
    source: Source,
    condition: Callable[[NetworkMachine], Wait],
    timeout: float | None,
    as_json: bool,
    problem: str,
) -> None:
    import asyncio

    from amzmq.cli import session

    async def question(client: Client) -> tuple[bool, str, dict[str, int]]:
        replica = client.net_mach
        wait = condition(replica)
        if not wait.done():  # a timeout of 0 is a plain question
            try:
                async with asyncio.timeout(timeout):
                    await session.while_connected(client, wait)
            except TimeoutError:
                pass  # told by the wait
        return wait.done(), str(replica), replica.clock()

    met, now, clock = session.run(session.ask(source, question))
    if as_json:
        print_json({"met": met, "clock": clock})
    elif met:
        print(now)
    if not met:
        typer.echo(f"amzmq: {problem} within {timeout:g} s: {now}", err=True)
        raise typer.Exit(BAD)
