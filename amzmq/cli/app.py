"""All commands under one name."""

from __future__ import annotations

from typing import Annotated

import typer

from amzmq.cli import (
    bench,
    doctor,
    keygen,
    listing,
    mutating,
    reading,
    relay,
    serve,
    sidecar,
    waiting,
)
from amzmq.cli.demo import command as demo
from amzmq.cli.repl import command as repl

app = typer.Typer(
    help="Live state for everyone, without a broker.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # paragraphs are filled, and a [table] is no markup
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version  # slow, and seldom needed

    try:
        print(f"amzmq {version('amzmq')}")
    except PackageNotFoundError:  # run from a checkout
        print("amzmq, not installed")
    raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Live state for everyone, without a broker.

    Exit status: 0 success; 1 the answer is no (a canceled mutation, a wait whose time ran out);
    2 there is no answer (wrong usage, no connection).
    """


app.command()(demo.demo)
app.command()(serve.serve)
app.command()(relay.relay)
app.command()(listing.ls)
app.command("add")(mutating.add)
app.command("remove")(mutating.remove)
app.command("set")(mutating.set_)
app.command("toggle")(mutating.toggle)
app.command()(reading.inspect)
app.command()(waiting.when)
app.command("when-not")(waiting.when_not)
app.command()(reading.watch)
app.command()(reading.payloads)
app.command()(doctor.doctor)
app.command()(keygen.keygen)
app.command()(sidecar.sidecar)
app.command()(repl.repl)
app.command(context_settings={"ignore_unknown_options": True})(bench.bench)
