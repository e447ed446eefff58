"""The commands that show a machine: inspect, watch, payloads."""

from __future__ import annotations

from typing import Annotated

import typer

from amzmq.cli.arguments import AsJson, Source, print_json
from amzmq.cli.groups import grouped


@grouped
def inspect(source: Source, as_json: AsJson = False) -> None:
    """Show every state: active or not, its tick, its properties and relations.

    Example: amzmq inspect tcp://127.0.0.1:7701
    """
    from amzmq.cli import session
    from amzmq.cli.showing import inspection

    text, facts = session.run(session.ask(source, inspection))
    if as_json:
        print_json(facts)
    else:
        print(text, end="")


@grouped
def watch(source: Source, as_json: AsJson = False) -> None:
    """Watch the states live, until Ctrl-C: a table on a terminal, else a line for each change.

    The table has every state with its tick, and how often it ticked lately. The first line of the
    other form tells the states at the beginning: + active, - inactive, * ticked and as before.
    Changes that the source makes within one turn of its event loop arrive as one.

    Example: amzmq watch tcp://127.0.0.1:7701

    Example: amzmq watch tcp://127.0.0.1:7701 --json | head -1
    """
    from amzmq.cli import session
    from amzmq.cli.showing import show_changes

    session.run(show_changes(source, as_json))


@grouped
def payloads(
    source: Source,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAMES...]", help="Which kinds; all if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print every payload that comes, one line each, until Ctrl-C.

    Example: amzmq payloads tcp://127.0.0.1:7701 price
    """
    from amzmq.cli import session
    from amzmq.cli.showing import show_payloads

    session.run(show_payloads(source, names or [], as_json))
