"""The ``relay`` command: serve what others serve, so that one source reaches many."""

from __future__ import annotations

from typing import Annotated

import typer

from amzmq.cli import session
from amzmq.cli.arguments import AsJson, print_json
from amzmq.rpc.relay.relay import Relay

START_TIMEOUT = 30.0


def relay(
    upstream: Annotated[
        list[str],
        typer.Argument(
            metavar="UPSTREAM...", help="Where machines are served; several are tried in order."
        ),
    ],
    bind: Annotated[
        str, typer.Option(help="Where to listen; the feed takes the port after it, port 0 is any.")
    ] = "tcp://127.0.0.1:0",
    machine: Annotated[
        list[str] | None,
        typer.Option("--machine", metavar="ID", help="Only this machine; repeatable."),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Its name in the paths of followers; random if empty.")
    ] = "",
    start_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds until upstream has to be there at the start.")
    ] = START_TIMEOUT,
    as_json: AsJson = False,
) -> None:
    """Follow machines and serve them again, until Ctrl-C or SIGTERM.

    While upstream is away the last known states are served, marked stale. The line with the
    address is printed once clients may connect.

    Example: amzmq relay tcp://127.0.0.1:7701 --bind tcp://127.0.0.1:7801
    """
    session.run(_relay(upstream, bind, machine, name, start_timeout, as_json))


async def _relay(
    upstream: list[str],
    bind: str,
    machines: list[str] | None,
    name: str,
    start_timeout: float,
    as_json: bool,
) -> None:
    relay = Relay(upstream, bind, name=name, machines=machines, start_timeout=start_timeout)
    with session.stop_signals() as stopped:
        async with relay:
            infos = relay.infos()
            depth = max(len(info.path) for info in infos) - 1
            ids = [info.id for info in infos]
            if as_json:
                served = {"addr": relay.addr, "feed": relay.feed_addr}
                print_json({"name": relay.name, "machines": ids, "depth": depth, **served})
            else:
                print(
                    f"relaying {' '.join(ids)} at {relay.addr}, feed {relay.feed_addr}, "
                    f"depth {depth}",
                    flush=True,
                )
            await stopped.wait()
