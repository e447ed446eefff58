"""The ``ls`` command: which machines are served at an address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from amzmq.cli import session
from amzmq.cli.arguments import CONNECT_TIMEOUT, Addr, AsJson, ConnectTimeout, print_json
from amzmq.rpc.listing import MachineInfo, list_machines

HEADER = ("ID", "STATES", "TIME SUM", "CLIENTS", "DEPTH", "ACTIVE")


def ls(
    addr: Addr, as_json: AsJson = False, connect_timeout: ConnectTimeout = CONNECT_TIMEOUT
) -> None:
    """List the machines that are served there; other commands take one by --machine ID.

    Example: amzmq ls tcp://127.0.0.1:7701
    """
    machines = session.run(list_machines(addr, timeout=connect_timeout))
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
