"""The ``ls`` command: which machines are served at an address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from amzmq.cli.arguments import CONNECT_TIMEOUT, Addr, AsJson, ConnectTimeout, print_json
from amzmq.cli.groups import grouped
from amzmq.cli.security import Credentials

if TYPE_CHECKING:
    from amzmq.rpc.listing import MachineInfo

HEADER = ("ID", "STATES", "TIME SUM", "CLIENTS", "DEPTH", "ACTIVE")


@grouped
def ls(
    addr: Addr,
    credentials: Credentials,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """List the machines that are served there; other commands take one by --machine ID.

    Example: amzmq ls tcp://127.0.0.1:7701
    """
    from amzmq.cli import session

    machines = session.run(session.listed(addr, connect_timeout, credentials))
    if as_json:
        print_json([asdict(machine) for machine in machines])
    else:
        for line in _table([HEADER, *map(_row, machines)]):
            print(line)


def _row(machine: MachineInfo) -> tuple[str, ...]:
    counts = (machine.states, machine.time_sum, machine.clients, len(machine.path) - 1)
    return (machine.id, *map(str, counts), " ".join(machine.active))


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """The rows with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
