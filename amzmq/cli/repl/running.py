"""What the ``repl`` command does: a shell, or one command, on many machines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amzmq.cli import session
from amzmq.cli.arguments import Source
from amzmq.cli.repl.interpreter import Interpreter
from amzmq.cli.repl.machines import Machines
from amzmq.cli.repl.screen import print_outcome, print_outcome_json, print_problem
from amzmq.cli.repl.targets import Target, TargetKind, watch
from amzmq.cli.security import Credentials
from amzmq.cli.waits import first_of
from amzmq.errors import ConnectFailed
from amzmq.rpc.client.client import Client
from amzmq.rpc.listing import MachineInfo

WATCH_INTERVAL = 1.0
"""Seconds between two looks at the address files."""


class Run:
    """What the user wants, and the two ways to do it.

    Args:
        target: Where machines are.
        machine: The id of the only one wanted; empty for all.
        timeout: Seconds that one command may take.
        as_json: Whether outcomes are printed as JSON.
        connect_timeout: Seconds to go on trying to connect.
        credentials: With which keys.

    Raises:
        SecurityUnfit: A key cannot be used.
    """

    def __init__(
        self,
        target: Target,
        machine: str,
        timeout: float,
        as_json: bool,
        connect_timeout: float,
        credentials: Credentials,
    ) -> None:
        self._target = target
        self._machine = machine
        self._timeout = timeout
        self._report = print_outcome_json if as_json else print_outcome
        self._connect_timeout = connect_timeout
        self._credentials = credentials

    async def command(self, words: list[str], req_all: bool) -> int:
        """Connect, run one command; its status."""
        async with self._machines() as machines:
            await self._connected(machines, req_all)
            return await Interpreter(machines, self._report, self._timeout).run(words)

    async def shell(self, watching: bool) -> int:
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
        timeout = self._connect_timeout / session.ATTEMPTS
        found = await session.listed(addr, timeout, self._credentials)
        return [info for info in found if self._machine in ("", info.id)]

    def _connect(self, addr: str, machine: str) -> Client:
        source = Source(addr, machine, self._connect_timeout, self._credentials)
        return session.client(source)
