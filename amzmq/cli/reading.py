"""The commands that show a machine: inspect, watch, payloads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import datetime
from typing import Annotated, Any

import typer

from amzmq.cli import session
from amzmq.cli.arguments import (
    CONNECT_TIMEOUT,
    Addr,
    AsJson,
    ConnectTimeout,
    MachineId,
    jsonable,
    print_json,
)
from amzmq.cli.updates import Updates
from amzmq.cli.waits import first_of
from amzmq.machine import MachineView
from amzmq.rpc.client.client import Client
from amzmq.rpc.payload import Payload, PayloadIterator


def inspect(
    addr: Addr,
    machine: MachineId = "",
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Show every state: active or not, its tick, its properties and relations.

    Example: amzmq inspect tcp://127.0.0.1:7701
    """

    async def question(client: Client) -> tuple[str, dict[str, object]]:
        replica = client.net_mach
        return replica.inspect(), described(replica, replica.remote_id)

    text, facts = session.run(session.ask(addr, connect_timeout, machine, question))
    if as_json:
        print_json(facts)
    else:
        print(text, end="")


def watch(
    addr: Addr,
    machine: MachineId = "",
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Print every change of the states, one line each, until Ctrl-C.

    The first line tells the states at the beginning. Changes that the source makes within one
    turn of its event loop arrive as one.

    Example: amzmq watch tcp://127.0.0.1:7701 --json
    """

    async def following() -> None:
        with session.stop_signals() as stopped:
            async with session.client(addr, connect_timeout, machine) as client:
                await _until(client, stopped, _print_changes(client, as_json))

    session.run(following())


def payloads(
    addr: Addr,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAMES...]", help="Which kinds; all if not given."),
    ] = None,
    machine: MachineId = "",
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Print every payload that comes, one line each, until Ctrl-C.

    Example: amzmq payloads tcp://127.0.0.1:7701 price
    """

    async def following() -> None:
        with session.stop_signals() as stopped:
            client = session.client(addr, connect_timeout, machine)
            coming = client.payloads(*(names or ()))  # from the very first one
            async with client:
                await _until(client, stopped, _print_payloads(coming, as_json))

    session.run(following())


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
