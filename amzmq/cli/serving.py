"""The ``serve`` command: expose a machine from Python code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Awaitable
from typing import Annotated

import typer

from amzmq.cli import session
from amzmq.cli.arguments import AsJson, print_json
from amzmq.cli.waits import first_of
from amzmq.errors import AmzmqError
from amzmq.machine import Machine
from amzmq.rpc.server.mux import Mux


class NotServable(AmzmqError):
    """The target names no machine; the message says why."""


def serve(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:MACHINE", help="A machine, or a function that makes one, in a module."
        ),
    ],
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
    session.run(_serve(target, bind, as_json))


async def _serve(target: str, bind: str, as_json: bool) -> None:
    with session.stop_signals() as stopped:
        # On the event loop, so that async handlers can be bound by the module.
        machine = await load(target)
        async with Mux(machine, bind=bind) as mux:
            if as_json:
                print_json({"id": machine.id, "addr": mux.addr, "feed": mux.feed_addr})
            else:
                print(f"serving {machine.id} at {mux.addr}, feed {mux.feed_addr}", flush=True)
            await first_of(stopped.wait(), machine.when_disposed())
        machine.dispose()
        await machine.when_disposed()


async def load(target: str) -> Machine:
    """The machine that ``module:attribute`` names.

    Raises:
        NotServable: There is none.
    """
    module_name, colon, attribute = target.partition(":")
    if not module_name or not colon or not attribute:
        raise NotServable(f"{target!r} is not MODULE:MACHINE, e.g. door:machine")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
        if callable(found):
            found = found()
        if isinstance(found, Awaitable) and not isinstance(found, Machine):
            found = await found
    except AttributeError as error:
        raise NotServable(f"{target}: {error}") from error
    except Exception as error:
        raise NotServable(f"{target}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Machine):
        raise NotServable(f"{target} is a {type(found).__name__}, not a Machine")
    return found
