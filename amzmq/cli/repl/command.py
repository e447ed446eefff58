"""The ``repl`` command: options in, a shell or one command out."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Annotated

import typer

from amzmq.cli import session
from amzmq.cli.arguments import CONNECT_TIMEOUT, AsJson, ConnectTimeout, MachineId
from amzmq.cli.outcome import fail, one_line_errors
from amzmq.cli.repl.interpreter import Interpreter
from amzmq.cli.repl.machines import Machines
from amzmq.cli.repl.parsing import parse
from amzmq.cli.repl.screen import print_outcome, print_outcome_json, print_problem
from amzmq.cli.repl.targets import Target, TargetKind, parse_target, watch
from amzmq.cli.waits import first_of
from amzmq.errors import ConnectFailed
from amzmq.rpc.client.client import Client
from amzmq.rpc.listing import MachineInfo, list_machines

WATCH_INTERVAL = 1.0
"""Seconds between two looks at the address files."""


def repl(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ADDR|FILE|DIR",
            help="An address, a file with addresses, or a folder with *.addr files.",
        ),
    ],
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
    with one_line_errors():
        kind = _kind(is_file, is_dir)
        where = parse_target(target, kind)
        if command:
            parse(command)  # a mistake need not wait for a connection
        else:
            _check_terminal()
    options = _Options(where, machine, timeout, as_json, connect_timeout)
    if command:
        status = session.run(options.run_command(command, req_all))
    else:
        status = session.run(options.run_shell(watching))
    if status:
        raise typer.Exit(status)


def _kind(is_file: bool, is_dir: bool) -> TargetKind | None:
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


class _Options:
    """What the user wants, and the two ways to do it."""

    def __init__(
        self, target: Target, machine: str, timeout: float, as_json: bool, connect_timeout: float
    ) -> None:
        self._target = target
        self._machine = machine
        self._timeout = timeout
        self._report = print_outcome_json if as_json else print_outcome
        self._connect_timeout = connect_timeout

    async def run_command(self, words: list[str], req_all: bool) -> int:
        """Connect, run one command; its status."""
        async with self._machines() as machines:
            await self._connected(machines, req_all)
            return await Interpreter(machines, self._report, self._timeout).run(words)

    async def run_shell(self, watching: bool) -> int:
        """Run the shell to its end."""
        from amzmq.cli.repl.shell import history_file, new_prompt, run_shell  # needs prompt_toolkit

        async with self._machines() as machines:
            await machines.settled(self._connect_timeout)
            interpreter = Interpreter(machines, self._report, self._timeout, is_shell=True)
            shell = run_shell(interpreter, new_prompt(machines, history_file()))
            if watching and self._target.kind is not TargetKind.ADDR:
                await first_of(shell, watch(self._target, machines.follow, WATCH_INTERVAL))
            else:
                await shell
        return 0

    @asynccontextmanager
    async def _machines(self) -> AsyncIterator[Machines]:
        async with Machines(self._find, self._connect) as machines:
            machines.follow(self._target.addresses())
            yield machines

    async def _connected(self, machines: Machines, req_all: bool) -> None:
        """Wait for all machines; go on with some of them, unless all are required.

        Raises:
            ConnectFailed: No machine can be reached, or not all that are required.
        """
        if not machines.addrs:
            raise ConnectFailed(f"no address in {self._target.text!r}; is anything served?")
        if await machines.settled(self._connect_timeout):
            return
        missing = [str(error) for error in machines.failures.values()]
        missing += [f"{e.id} at {e.addr}" for e in machines.entries() if not e.is_ready]
        reasons = "; ".join(missing) or f"no machine {self._machine or 'is served'} there"
        problem = f"not connected within {self._connect_timeout:g} s: {reasons}"
        if req_all or not machines.mach.is_("Connected"):
            raise ConnectFailed(problem)
        print_problem(problem)

    async def _find(self, addr: str) -> list[MachineInfo]:
        found = await list_machines(addr, timeout=self._connect_timeout / session.ATTEMPTS)
        return [info for info in found if self._machine in ("", info.id)]

    def _connect(self, addr: str, machine: str) -> Client:
        return session.client(addr, self._connect_timeout, machine)
