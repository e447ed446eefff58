"""Runs commands on the machines and reports what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from amzmq.cli import session
from amzmq.cli.outcome import BAD
from amzmq.cli.repl.commands import (
    Cheatsheet,
    Command,
    Connect,
    Exit,
    GroupMutate,
    Help,
    Inspect,
    ListMachines,
    Mutate,
    Mutation,
    Script,
    Show,
    ShowTime,
    Status,
    When,
    WhenTime,
)
from amzmq.cli.repl.entry import Entry
from amzmq.cli.repl.machines import Machines
from amzmq.cli.repl.parser import LineInvalid
from amzmq.cli.repl.parsing import PARSERS, parse, split
from amzmq.cli.repl.render import CHEATSHEET, help_of, listed, row
from amzmq.cli.showing import described
from amzmq.errors import AmzmqError, CallTimeout, NotConnected
from amzmq.machine import Result, Wait
from amzmq.rpc.replica.netmach import NetworkMachine


class LeaveShell(Exception):
    """The user wants to leave; ends the shell, and is no error."""


class ScriptFailed(AmzmqError):
    """A script cannot be read, or one of its lines failed; the message names the line."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command.

    Attributes:
        text: For people.
        data: For programs.
        status: The exit status: 0, or `BAD` when the answer is no.
    """

    text: str
    data: object
    status: int = 0


Report = Callable[[Outcome], None]
"""Shows an outcome."""


class Interpreter:
    """Runs commands.

    Args:
        machines: Where.
        report: Gets the outcome of each command, those of a script included.
        timeout: Seconds that one command may take, where it does not say so itself.
        is_shell: Whether somebody is there who may leave or wait for a connection.
    """

    def __init__(
        self, machines: Machines, report: Report, timeout: float, is_shell: bool = False
    ) -> None:
        self._machines = machines
        self._report = report
        self._timeout = timeout
        self._is_shell = is_shell

    async def run_line(self, line: str) -> int:
        """Run a line; an empty one, or one that begins with #, does nothing.

        Returns:
            The exit status.

        Raises:
            AmzmqError: It could not be done.
            LeaveShell: It is ``exit``.
        """
        words = _words(line)
        return await self.run(words) if words else 0

    async def run(self, words: Sequence[str]) -> int:
        """Run a command; as `run_line`."""
        command = parse(words)
        if isinstance(command, Script):
            return await self._script(command)
        outcome = await self._execute(command)
        self._report(outcome)
        return outcome.status

    async def _script(self, command: Script) -> int:
        try:
            text = await asyncio.to_thread(Path(command.path).read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScriptFailed(f"script {command.path!r} cannot be read: {error}") from error
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{command.path}:{number}"
            try:
                words = _words(line)
                if words[:1] == ["script"]:
                    raise LineInvalid("a script runs no other script; write its lines here")
                status = await self.run(words) if words else 0
            except LeaveShell:
                return 0
            except AmzmqError as error:
                raise ScriptFailed(f"{where}: {error}") from error
            if status:
                return status
        return 0

    async def _execute(self, command: Command) -> Outcome:
        match command:
            case Mutate():
                return await self._mutate(command)
            case GroupMutate():
                return await self._group(command)
            case When():
                return await self._when(command)
            case WhenTime():
                return await self._when_time(command)
            case ListMachines():
                return self._list(command)
            case Show(machine=name, all=all_states):
                replica = self._machines.named(name).replica
                text = replica.string_all() if all_states else str(replica)
                clock = replica.clock()
                active = {state: tick for state, tick in clock.items() if tick & 1}
                return Outcome(text, clock if all_states else active)
            case ShowTime(machine=name, sum=summed):
                time = self._machines.named(name).replica.time()
                if summed:
                    return Outcome(str(time.sum()), time.sum())
                return Outcome(" ".join(map(str, time)), list(time))
            case Inspect(machine=name):
                return self._inspect(self._machines.named(name))
            case _:
                return self._about(command)

    def _about(self, command: Command) -> Outcome:
        """The commands about the REPL itself."""
        if isinstance(command, Status):
            return self._status()
        if isinstance(command, Help):
            if command.topic and command.topic not in PARSERS:
                raise LineInvalid(f"help: no command {command.topic!r}; there are: "
                                  f"{' '.join(PARSERS)}")  # fmt: skip
            text = help_of(command.topic)
            return Outcome(text, {"help": text})
        if isinstance(command, Cheatsheet):
            return Outcome(CHEATSHEET.rstrip(), {"cheatsheet": CHEATSHEET.splitlines()})
        if not self._is_shell:
            name = "connect" if isinstance(command, Connect) else "exit"
            raise LineInvalid(f"{name} makes sense in a shell only; leave the command out for one")
        if isinstance(command, Exit):
            raise LeaveShell
        self._machines.reconnect()
        return Outcome("connecting", {"connecting": self._machines.addrs})

    # Changes.

    async def _mutate(self, command: Mutate) -> Outcome:
        entry = self._machines.named(command.machine)
        replica = entry.replica
        result = await self._change(entry, command)
        data = {"id": entry.id, "result": str(result), "clock": replica.clock()}
        status = BAD if result == Result.CANCELED else 0
        return Outcome(f"{result} {replica}", data, status)

    async def _group(self, command: GroupMutate) -> Outcome:
        """At all of them at the same time; one that fails does not keep the others from it."""
        matching = command.filters.select(
            entry
            for entry in self._machines.entries()
            if entry.is_ready and entry.has(*command.states)
        )
        found = await asyncio.gather(
            *(self._change(entry, command) for entry in matching), return_exceptions=True
        )
        counts = {"executed": 0, "queued": 0, "canceled": 0, "failed": 0}
        failures: dict[str, str] = {}
        for entry, result in zip(matching, found, strict=True):
            if isinstance(result, Result):
                counts[str(result)] += 1
            elif isinstance(result, AmzmqError):
                counts["failed"] += 1
                failures[self._machines.name_of(entry)] = str(result)
            else:
                raise result
        text = " ".join(f"{kind}:{count}" for kind, count in counts.items())
        if not matching:
            text += " (no connected machine has these states and matches)"
        text += "".join(f"\n{name}: {reason}" for name, reason in failures.items())
        status = 0 if matching and not counts["canceled"] and not failures else BAD
        return Outcome(text, {**counts, "failures": failures}, status)

    async def _change(self, entry: Entry, command: Mutate | GroupMutate) -> Result:
        replica = entry.replica
        mutate = {
            Mutation.ADD: replica.add,
            Mutation.REMOVE: replica.remove,
            Mutation.SET: replica.set,
            Mutation.TOGGLE: replica.toggle,
        }[command.kind]
        try:
            async with asyncio.timeout(self._timeout):
                return await mutate(*command.states, args=command.args)
        except TimeoutError:
            raise CallTimeout(
                f"{command.kind.value} at {entry.id} has no answer within {self._timeout:g} s; "
                "look whether it happened, or give a longer --timeout"
            ) from None

    # Waits.

    async def _when(self, command: When) -> Outcome:
        entry = self._machines.named(command.machine)
        replica = entry.replica
        states = command.states
        wait = replica.when(*states) if command.active else replica.when_not(*states)
        wanted = "active" if command.active else "inactive"
        return await self._wait(
            entry, replica, wait, states, f"{' '.join(states)} not {wanted}", command.timeout
        )

    async def _when_time(self, command: WhenTime) -> Outcome:
        entry = self._machines.named(command.machine)
        replica = entry.replica
        missing = " ".join(f"{state}:{tick}" for state, tick in command.times.items())
        return await self._wait(
            entry,
            replica,
            replica.when_time(command.times),
            tuple(command.times),
            f"{missing} not reached",
            command.timeout,
        )

    async def _wait(
        self,
        entry: Entry,
        replica: NetworkMachine,
        wait: Wait,
        states: tuple[str, ...],
        problem: str,
        timeout: float | None,
    ) -> Outcome:
        seconds = self._timeout if timeout is None else timeout
        if not wait.done():  # a timeout of 0 is a plain question
            try:
                async with asyncio.timeout(seconds):
                    await session.while_connected(entry.client, wait)
            except TimeoutError:
                pass  # told by the wait, below
        if replica.is_disposed:  # it lets go of its waits, whatever they are for
            raise NotConnected(f"{entry.id} at {entry.addr} went away; see status")
        clock = replica.clock(*states)
        data = {"id": entry.id, "met": wait.done(), "clock": clock}
        ticks = " ".join(f"{state}:{tick}" for state, tick in clock.items())
        if wait.done():
            return Outcome(ticks, data)
        return Outcome(f"{problem} within {seconds:g} s: {ticks}", data, BAD)

    # Looks.

    def _inspect(self, entry: Entry) -> Outcome:
        replica = entry.replica
        text = f"mach://{entry.id}\n{replica.inspect().rstrip()}"
        return Outcome(text, described(replica, entry.id))

    def _list(self, command: ListMachines) -> Outcome:
        machines = self._machines
        shown = [entry for entry in machines.entries() if entry.is_ready or command.disconn]
        rows = [row(machines, entry, command.states_all) for entry in command.filters.select(shown)]
        text = listed(rows, command.states or command.states_all)
        return Outcome(text, [item.described() for item in rows])

    def _status(self) -> Outcome:
        entries = self._machines.entries()
        connected = sum(entry.is_ready for entry in entries)
        connecting = sum(entry.is_connecting for entry in entries)
        counts = {
            "connected": connected,
            "connecting": connecting,
            "disconnected": len(entries) - connected - connecting,
            "total": len(entries),
        }
        text = " ".join(f"{kind}:{count}" for kind, count in counts.items())
        failures = {addr: str(error) for addr, error in self._machines.failures.items()}
        text += "".join(f"\n{reason}" for reason in failures.values())
        return Outcome(text, {**counts, "unreachable": failures})


def _words(line: str) -> list[str]:
    """The words of a line; none of an empty one, or a comment."""
    return [] if line.lstrip().startswith("#") else split(line)
