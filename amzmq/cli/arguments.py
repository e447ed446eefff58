"""Arguments and options that several commands have, and how they are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from amzmq.cli.security import Credentials

Addr = Annotated[
    str, typer.Argument(metavar="ADDR", help="Where a machine is served: tcp://HOST:PORT.")
]
MachineId = Annotated[
    str,
    typer.Option(
        "--machine", metavar="ID", help="Which machine there, where several are served; see ls."
    ),
]
StateNames = Annotated[list[str], typer.Argument(metavar="STATES...", help="Names of states.")]
Args = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="KEY=VALUE", help="An argument for the handlers; repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConnectTimeout = Annotated[
    float,
    typer.Option(
        min=0.1, help="Seconds to go on trying to connect, also after a connection broke."
    ),
]
CONNECT_TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class Source:
    """A machine that is served somewhere, and how to get there: a group of options.

    Attributes:
        addr: Where it is served.
        machine: Its id; empty for the first one there.
        connect_timeout: Seconds to go on trying to connect.
        credentials: With which keys.
    """

    addr: Addr
    machine: MachineId = ""
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT
    credentials: Credentials = Credentials()


def parse_arg(text: str) -> tuple[str, object]:
    """One ``--arg``: KEY=VALUE, where a value that is JSON is taken as such, else as text.

    Raises:
        typer.BadParameter: There is no key, or no "=".

    >>> parse_arg("n=3"), parse_arg("user=ann"), parse_arg('id="3"')
    (('n', 3), ('user', 'ann'), ('id', '3'))
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE, e.g. --arg user=42")
    return key, parse_value(value)


def parse_value(text: str) -> object:
    """A value on the command line: as JSON where it is JSON, else as text."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def parse_args(texts: list[str] | None) -> dict[str, object] | None:
    """All ``--arg`` of a command; None without any.

    Raises:
        typer.BadParameter: One has no key, no "=", or a key that another one has.
    """
    args: dict[str, object] = {}
    for text in texts or ():
        key, value = parse_arg(text)
        if key in args:
            raise typer.BadParameter(f"--arg {key}= is given twice")
        args[key] = value
    return args or None


def jsonable(value: object) -> object:
    """A value of the wire as JSON has it: bytes as hex digits, keys as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {
            key.hex() if isinstance(key, bytes) else str(key): jsonable(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


def print_json(value: object) -> None:
    """Print a value as one line, and at once: a script may wait for it."""
    print(json.dumps(jsonable(value)), flush=True)
