"""The commands that change states: add, remove, set, toggle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import typer

from amzmq.cli.arguments import Args, AsJson, Source, StateNames, parse_args, print_json
from amzmq.cli.groups import grouped
from amzmq.cli.outcome import BAD

if TYPE_CHECKING:
    from amzmq.machine import Result
    from amzmq.rpc.client.client import Client
    from amzmq.rpc.replica.netmach import NetworkMachine


class _Mutation(Protocol):
    def __call__(
        self, *states: str, args: dict[str, object] | None = None
    ) -> Awaitable[Result]: ...


def _command(mutation: Callable[[NetworkMachine], _Mutation], help: str) -> Callable[..., None]:
    """A command that changes states; all of them have the same arguments and options."""

    def command(
        source: Source, states: StateNames, arg: Args = None, as_json: AsJson = False
    ) -> None:
        from amzmq.cli import session
        from amzmq.machine import Result

        args = parse_args(arg)

        async def question(client: Client) -> tuple[Result, dict[str, int], str]:
            replica = client.net_mach
            result = await mutation(replica)(*states, args=args)
            # Whoever awaited the mutation reads its effect.
            return result, replica.clock(), str(replica)

        result, clock, active = session.run(session.ask(source, question))
        if as_json:
            print_json({"result": str(result), "clock": clock})
        else:
            print(f"{result} {active}")
        if result == Result.CANCELED:
            raise typer.Exit(BAD)

    command.__doc__ = help
    return grouped(command)


add = _command(
    lambda replica: replica.add,
    """Activate states. Exit status 1 when the machine cancels it.

    Example: amzmq add tcp://127.0.0.1:7701 Open --arg user=42
    """,
)

remove = _command(
    lambda replica: replica.remove,
    """Deactivate states. Exit status 1 when the machine cancels it.

    Example: amzmq remove tcp://127.0.0.1:7701 Open
    """,
)

set_ = _command(
    lambda replica: replica.set,
    """Activate exactly these states. Exit status 1 when the machine cancels it.

    Example: amzmq set tcp://127.0.0.1:7701 Start Closed
    """,
)

toggle = _command(
    lambda replica: replica.toggle,
    """Remove the states if all are active, add them otherwise. Exit status 1 when canceled.

    Example: amzmq toggle tcp://127.0.0.1:7701 Lamp --json
    """,
)
