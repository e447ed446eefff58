"""The ``demo`` command: options in, verdict out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amzmq.cli.outcome import BAD, INTERRUPTED, one_line_errors

if TYPE_CHECKING:
    from amzmq.cli.demo.source import Options, Screen
    from amzmq.cli.demo.verdict import Verdict


def demo(
    subscribers: Annotated[
        int, typer.Option("--subscribers", "-n", min=1, max=999, help="Follower processes.")
    ] = 8,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Walk in rounds for so long; one whole round if not given."),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="The directory to read; the running Python's standard library if not given.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Show the whole system on this machine, and check it.

    One process reads and hashes every file of a directory; its machine says what it does, and a
    payload tells of each file. Follower processes listen live. At the end each of them has to
    have the source's clock and every payload in the source's order, or the exit status is 1.

    Example: amzmq demo --subscribers 20 --seconds 5
    """
    import asyncio

    from amzmq.cli.demo.files import NOT_THE_LIBRARY, standard_library
    from amzmq.cli.demo.source import Options, Quiet

    options = (
        Options(subscribers, seconds, standard_library(), NOT_THE_LIBRARY)
        if path is None
        else Options(subscribers, seconds, path)
    )
    screen = _terminal() if sys.stdout.isatty() and not as_json else Quiet()
    try:
        with one_line_errors():
            verdict = asyncio.run(_until_terminated(options, screen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(json.dumps(verdict.figures))
        for problem in verdict.problems:
            typer.echo(f"amzmq: {problem}", err=True)
    else:
        print(verdict.text())
    if not verdict.good:
        raise typer.Exit(BAD)


def _terminal() -> Screen:
    from rich.console import Console  # not needed, thus not imported, by any other command

    from amzmq.cli.demo.screen import Terminal

    return Terminal(Console())


async def _until_terminated(options: Options, screen: Screen) -> Verdict:
    """Run; a polite SIGTERM ends the followers too, as Ctrl-C does."""
    import asyncio
    import signal

    from amzmq.cli.demo.source import run

    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await run(options, screen)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
