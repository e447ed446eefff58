"""The ``relay`` command: serve what others serve, so that one source reaches many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from amzmq.cli.arguments import AsJson, print_json
from amzmq.cli.groups import grouped
from amzmq.cli.security import Credentials, Lock

if TYPE_CHECKING:
    from amzmq.rpc.relay.relay import Relay

START_TIMEOUT = 30.0


@grouped
def relay(
    upstream: Annotated[
        list[str],
        typer.Argument(
            metavar="UPSTREAM...", help="Where machines are served; several are tried in order."
        ),
    ],
    credentials: Credentials,
    lock: Lock,
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
    address is printed once clients may connect. --key and --server-key are for upstream,
    --bind-key, --clients and --rights for who follows this relay.

    Example: amzmq relay tcp://127.0.0.1:7701 --bind tcp://127.0.0.1:7801
    """
    from amzmq.cli import session
    from amzmq.rpc.relay.relay import Relay

    def new_relay() -> Relay:
        return Relay(
            upstream,
            bind,
            name=name,
            machines=machine,
            start_timeout=start_timeout,
            transport=lock.transport(),
            new_transport=credentials.transports(),
            rights=lock.policy(),
        )

    session.run(_run(new_relay, as_json))


async def _run(new_relay: Callable[[], Relay], as_json: bool) -> None:
    from amzmq.cli import session

    relay = new_relay()  # on the event loop, where its sockets are
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
