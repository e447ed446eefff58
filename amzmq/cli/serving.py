"""Serving a machine that Python code names."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Awaitable

from amzmq.cli.arguments import print_json
from amzmq.cli.security import Lock
from amzmq.cli.session import stop_signals
from amzmq.cli.waits import first_of
from amzmq.errors import AmzmqError
from amzmq.machine import Machine
from amzmq.rpc.server.mux import Mux


class NotServable(AmzmqError):
    """The target names no machine; the message says why."""


async def run(target: str, bind: str, lock: Lock, as_json: bool) -> None:
    """Serve until a signal, or until the machine is disposed.

    Raises:
        NotServable: The target names no machine.
        SecurityUnfit: A key cannot be used.
        AddressInUse: Somebody else listens there.
        Insecure: Strangers could connect.
    """
    with stop_signals() as stopped:
        # On the event loop, so that async handlers can be bound by the module.
        machine = await load(target)
        mux = Mux(machine, bind=bind, transport=lock.transport(), rights=lock.policy())
        async with mux:
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
