"""The ``repl`` command: options in, a shell or one command out."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from amzmq.cli.arguments import CONNECT_TIMEOUT, AsJson, ConnectTimeout, MachineId
from amzmq.cli.groups import grouped
from amzmq.cli.outcome import fail, one_line_errors
from amzmq.cli.security import Credentials

if TYPE_CHECKING:
    from amzmq.cli.repl.targets import TargetKind


@grouped
def repl(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ADDR|FILE|DIR",
            help="An address, a file with addresses, or a folder with *.addr files.",
        ),
    ],
    credentials: Credentials,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="One command; a shell if not given."),
    ] = None,
    is_file: Annotated[bool, typer.Option("--file", "-f", help="The target is a file.")] = False,
    is_dir: Annotated[bool, typer.Option("--dir", "-d", help="The target is a folder.")] = False,
    watching: Annotated[
        bool,
        typer.Option("--watch/--no-watch", "-w/-W", help="Shell: follow changes of the files."),
    ] = True,
    req_all: Annotated[
        bool, typer.Option("--req-all", "-a", help="Fail unless every machine can be reached.")
    ] = False,
    machine: MachineId = "",
    timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds that one command may take, waits included.")
    ] = 30.0,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = CONNECT_TIMEOUT,
) -> None:
    """Work with many machines at once: from a shell, or by one command behind --.

    Every machine at every address is connected. In the shell, Tab completes commands, machines
    and states, Ctrl-C ends a command, Ctrl-D leaves; help and cheatsheet say what there is. Exit
    status 1 when the answer is no, 2 when there is none.

    Example: amzmq repl tcp://127.0.0.1:7701

    Example: amzmq repl run/ -- add door Open --arg user --val 42

    Example: amzmq repl run/ --json -- list -a Ready
    """
    from amzmq.cli import session
    from amzmq.cli.repl.parsing import parse
    from amzmq.cli.repl.running import Run
    from amzmq.cli.repl.targets import parse_target

    with one_line_errors():
        kind = _kind(is_file, is_dir)
        where = parse_target(target, kind)
        credentials.keys()
        if command:
            parse(command)  # a mistake need not wait for a connection
        else:
            _check_terminal()
    run = Run(where, machine, timeout, as_json, connect_timeout, credentials)
    if command:
        status = session.run(run.command(command, req_all))
    else:
        status = session.run(run.shell(watching))
    if status:
        raise typer.Exit(status)


def _kind(is_file: bool, is_dir: bool) -> TargetKind | None:
    from amzmq.cli.repl.targets import TargetKind

    if is_file and is_dir:
        raise typer.BadParameter("--file and --dir exclude each other")
    if is_file:
        return TargetKind.FILE
    return TargetKind.DIR if is_dir else None


def _check_terminal() -> None:
    if not sys.stdin.isatty():
        fail("the shell needs a terminal; give a command behind --, e.g. -- script FILE")
    if find_spec("prompt_toolkit") is None:
        fail("the shell needs prompt-toolkit; install it: pip install 'amzmq[cli]'")
