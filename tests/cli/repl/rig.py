"""Machines in memory and an interpreter that works on them."""

from __future__ import annotations

from contextlib import AsyncExitStack

from amzmq.cli.repl.interpreter import Interpreter, Outcome
from amzmq.cli.repl.machines import Machines
from amzmq.machine import Machine, Schema, State
from amzmq.net import MemoryNetwork
from amzmq.rpc import Client, Mux
from amzmq.rpc.listing import MachineInfo, list_machines
from tests.rpc.rig import PATIENCE_S, QUICK

SCHEMA: Schema = {
    "Start": State(),
    "Open": State(remove="Closed"),
    "Closed": State(remove="Open"),
    "Alarm": State(require="Open"),
    "Bell": State(multi=True),
}


class Bell:
    """Arguments of a state."""

    volume: int


class Open:
    """Arguments of another one."""

    user: str


class Rig:
    """A network with machines on it, and a REPL's view of them.

    Attributes:
        machines: Follows what `serve` serves.
        outcomes: Everything that the interpreter reported.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self.network = MemoryNetwork()
        self.machines = Machines(self.find, self.connect, interval=0.01)
        self.outcomes: list[Outcome] = []
        self.served: dict[str, Mux] = {}
        self._stack = stack

    async def find(self, addr: str) -> list[MachineInfo]:
        return await list_machines(addr, 0.2, self.network.transport())

    def connect(self, addr: str, machine: str) -> Client:
        return Client(addr, machine=machine, transport=self.network.transport(), **QUICK)

    async def serve(self, id: str, addr: str = "", schema: Schema | None = None) -> Machine:
        """Serve a machine with Start and Closed active; it is not followed yet."""
        machine = Machine(SCHEMA if schema is None else schema, id=id)
        machine.add(*(state for state in ("Start", "Closed") if machine.has(state)))
        addr = addr or f"mem://{id}"
        mux = Mux(machine, addr, args=[Bell, Open], transport=self.network.transport())
        self.served[addr] = mux
        self._stack.push_async_callback(mux.stop)
        await mux.start()
        return machine

    async def follow(self, *addrs: str) -> None:
        """Follow the machines at these addresses, or at all, until all are connected."""
        self.machines.follow(addrs or list(self.served))
        assert await self.machines.settled(PATIENCE_S)

    async def serve_all(self, *ids: str) -> list[Machine]:
        """Serve machines and follow them."""
        made = [await self.serve(id) for id in ids]
        await self.follow()
        return made

    def interpreter(self, timeout: float = PATIENCE_S, is_shell: bool = False) -> Interpreter:
        return Interpreter(self.machines, self.outcomes.append, timeout, is_shell)

    async def run(self, line: str, timeout: float = PATIENCE_S) -> Outcome:
        """Run one command; its outcome."""
        before = len(self.outcomes)
        status = await self.interpreter(timeout).run_line(line)
        (outcome,) = self.outcomes[before:]
        assert outcome.status == status
        return outcome
