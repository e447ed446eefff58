"""What inspect, watch and payloads show of a machine, and how: as JSON, as lines, as a table."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from amzmq.cli import session
from amzmq.cli.arguments import Source, jsonable, print_json
from amzmq.cli.updates import Updates
from amzmq.cli.waits import first_of
from amzmq.machine import MachineView
from amzmq.rpc.client.client import Client
from amzmq.rpc.payload import Payload, PayloadIterator

if TYPE_CHECKING:
    from rich.console import Console


async def inspection(client: Client) -> tuple[str, dict[str, object]]:
    """A followed machine, for people and for programs."""
    replica = client.net_mach
    return replica.inspect(), described(replica, replica.remote_id)


async def show_changes(source: Source, as_json: bool) -> None:
    """Show each change, until a signal.

    Raises:
        ConnectFailed: The source cannot be reached, or went away for good.
        Refused: There is no such machine.
        SecurityUnfit: A key cannot be used.
    """
    with session.stop_signals() as stopped:
        async with session.client(source) as client:
            console = None if as_json else _terminal()
            if console is not None:
                from amzmq.cli.table import draw

                await _until(client, stopped, draw(client, source.addr, console))
            else:
                await _until(client, stopped, _print_changes(client, as_json))


async def show_payloads(source: Source, names: Sequence[str], as_json: bool) -> None:
    """Print each payload of these names, or of all, until a signal.

    Raises:
        ConnectFailed: The source cannot be reached, or went away for good.
        Refused: There is no such machine.
        SecurityUnfit: A key cannot be used.
    """
    with session.stop_signals() as stopped:
        client = session.client(source)
        coming = client.payloads(*names)  # from the very first one
        async with client:
            await _until(client, stopped, _print_payloads(coming, as_json))


def _terminal() -> Console | None:
    """Where a picture can be drawn again and again; None if the output is no such place."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    console = Console()
    return None if console.is_dumb_terminal else console


async def _until(
    client: Client, stopped: asyncio.Event, printing: Coroutine[Any, Any, None]
) -> None:
    """Let it print until a signal, or until the connection is lost for good."""
    await session.while_connected(client, first_of(printing, stopped.wait()))


async def _print_changes(client: Client, as_json: bool) -> None:
    with Updates(client.net_mach) as updates:
        async for change in updates:
            if as_json:
                print_json(change.described())
            else:
                print(_time(), change, flush=True)


async def _print_payloads(coming: PayloadIterator, as_json: bool) -> None:
    async for payload in coming:
        if as_json:
            print_json(_payload(payload))
        else:
            print(_time(), payload.name, json.dumps(jsonable(payload.data)), flush=True)


def _payload(payload: Payload) -> dict[str, object]:
    return {
        "name": payload.name,
        "data": payload.data,
        "token": payload.token,
        "source": payload.source,
        "source_tx": payload.source_tx,
    }


def described(machine: MachineView, id: str) -> dict[str, object]:
    """A machine as ``inspect --json`` prints it."""
    states = {}
    for name, tick in machine.clock().items():
        state = machine.schema[name]
        states[name] = {
            "active": bool(tick & 1),
            "tick": tick,
            "auto": state.auto,
            "multi": state.multi,
            "add": list(state.add),
            "require": list(state.require),
            "remove": list(state.remove),
            "after": list(state.after),
        }
    return {
        "id": id,
        "queue_tick": machine.queue_tick,
        "machine_tick": machine.machine_tick,
        "states": states,
    }


def _time() -> str:
    return datetime.now().strftime("%H:%M:%S.%f")[:-3]
