"""A machine on a terminal: its states, ticks and rates, drawn over the same lines."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from amzmq.cli.pulse import Pulse, Row, liveliest
from amzmq.rpc.client.client import Client

REFRESH = 0.25
"""Seconds between two pictures."""

FRAME_LINES = 5
"""Lines of a picture that are no states: about the machine, the heading, what is left out."""


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands above the table.

    Attributes:
        id: The machine's id.
        addr: Where it is followed.
        problem: Why what is shown may not be so any more; "" if it is so.
        machine_tick, queue_tick: How far the machine is.
    """

    id: str
    addr: str
    problem: str
    machine_tick: int
    queue_tick: int


async def draw(client: Client, addr: str, console: Console) -> None:
    """Draw what a client follows, until cancelled.

    Args:
        client: It is Ready.
        addr: Where it follows the machine.
        console: The terminal.
    """
    clock = asyncio.get_running_loop().time
    pulse = Pulse(client.net_mach.clock(), clock())
    # Drawn by the loop: rich's own thread would read the replica in the middle of an update.
    with Live(console=console, auto_refresh=False) as live:
        while True:
            pulse.look(client.net_mach.clock(), clock())
            live.update(picture(_caption(client, addr), pulse.rows(), console.height), refresh=True)
            await asyncio.sleep(REFRESH)


def _caption(client: Client, addr: str) -> Caption:
    net = client.net_mach
    problem = ""
    if client.mach.not_("Ready"):
        problem = "connection lost, trying again"
    elif net.is_stale:
        problem = "stale: a relay on the way has lost its source"
    return Caption(net.remote_id, addr, problem, net.machine_tick, net.queue_tick)


def picture(caption: Caption, rows: list[Row], height: int) -> RenderableType:
    """A machine, on so many lines at most."""
    shown = liveliest(rows, max(1, height - FRAME_LINES))
    parts: list[RenderableType] = [_heading(caption, rows), _table(shown)]
    if left_out := len(rows) - len(shown):
        parts.append(Text(f"{left_out} more that changed less lately", style="dim"))
    return Group(*parts)


def _heading(caption: Caption, rows: list[Row]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(caption.id, style="bold")
    text.append(f" at {caption.addr}  ")
    rate = sum(row.rate for row in rows)
    ticks = f"tick {caption.machine_tick}, queue {caption.queue_tick}, {rate:.1f} ticks/s"
    text.append(ticks, style="dim")
    if caption.problem:
        text.append(f"\n{caption.problem}", style="red")
    return text


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("STATE", no_wrap=True, overflow="ellipsis")
    for heading in ("TICK", "TICKS/S", "CHANGED"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        is_active = row.tick & 1
        name = Text(
            f"{'●' if is_active else '○'} {row.name}", style="green" if is_active else "dim"
        )
        rate = f"{row.rate:.1f}" if row.rate else ""
        table.add_row(name, str(row.tick), rate, "" if row.age is None else _ago(row.age))
    return table


def _ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits.

    >>> _ago(0.2), _ago(42.0), _ago(130.0), _ago(7300.0)
    ('now', '42 s ago', '2 min ago', '2 h ago')
    """
    if seconds < 1:
        return "now"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 3600 else f"{seconds / 3600:.0f} h ago"
