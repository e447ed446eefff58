"""The ``serve`` command: expose a machine from Python code."""

from __future__ import annotations

from typing import Annotated

import typer

from amzmq.cli.arguments import AsJson
from amzmq.cli.groups import grouped
from amzmq.cli.security import Lock


@grouped
def serve(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:MACHINE", help="A machine, or a function that makes one, in a module."
        ),
    ],
    lock: Lock,
    bind: Annotated[
        str, typer.Option(help="Where to listen; the feed takes the port after it, port 0 is any.")
    ] = "tcp://127.0.0.1:7701",
    as_json: AsJson = False,
) -> None:
    """Serve a machine until Ctrl-C, SIGTERM, or until it is disposed.

    The module is looked for in the current folder first. The line with the address is printed
    once clients may connect.

    Example: amzmq serve door:machine --bind tcp://127.0.0.1:7701
    """
    from amzmq.cli import session
    from amzmq.cli.serving import run

    session.run(run(target, bind, lock, as_json))
