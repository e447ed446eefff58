"""The demo's progress on a terminal: the source's states, its files, each follower's lag."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from amzmq.cli.demo.pace import LAG_LIMIT, Pace
from amzmq.cli.demo.states import times_added
from amzmq.cli.demo.walk import Walk
from amzmq.machine import Machine

REFRESH = 0.2
"""Seconds between two pictures."""

CELL_WIDTH = 26


class Terminal:
    """Draws over the same lines again and again.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def watching(self, machine: Machine, walk: Walk, pace: Pace) -> Iterator[None]:
        """Draw inside of the ``with`` block."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def draw() -> None:
            nonlocal timer
            live.update(self._picture(machine, walk, pace), refresh=True)
            timer = loop.call_later(REFRESH, draw)

        # Drawn by the loop: rich's own thread would read the machine in the middle of a change.
        with Live(console=self._console, auto_refresh=False) as live:
            draw()
            try:
                yield
            finally:
                timer.cancel()
                live.update(self._picture(machine, walk, pace), refresh=True)

    def _picture(self, machine: Machine, walk: Walk, pace: Pace) -> RenderableType:
        return Group(_source(machine, walk), _followers(pace, self._console.width))


def _source(machine: Machine, walk: Walk) -> RenderableType:
    done = walk.listed - len(walk.left)
    files, rounds, unreadable = (
        times_added(machine.tick(state)) for state in ("FileDone", "Walking", "ErrRead")
    )
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text("source", style="bold"),
        ProgressBar(total=max(walk.listed, 1), completed=done, width=CELL_WIDTH),
        f"{done}/{walk.listed} of round {rounds}",
        Text(f"{files} files", style="bold"),
        Text(f"{unreadable} unreadable" if unreadable else "", style="red"),
    )
    return Group(row, Text(str(machine), style="dim", no_wrap=True, overflow="ellipsis"))


def _followers(pace: Pace, width: int) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    cells = [_follower(name, lag) for name, lag in pace.lags().items()]
    columns = max(1, width // (CELL_WIDTH + 2))
    for at in range(0, len(cells), columns):
        table.add_row(*cells[at : at + columns])
    return table


def _follower(name: str, lag: int | None) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    if lag is None:
        row.add_row(name, Text("not connected", style="dim"))
        return row
    style = "green" if lag <= LAG_LIMIT // 2 else "yellow" if lag <= LAG_LIMIT else "red"
    bar = ProgressBar(total=LAG_LIMIT, completed=min(lag, LAG_LIMIT), width=8, complete_style=style)
    row.add_row(name, bar, Text("level" if lag == 0 else f"{lag} behind", style=style))
    return row
