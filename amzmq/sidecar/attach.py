"""The attach job: a machine from Python code, shown by the daemon."""

from __future__ import annotations

from collections.abc import Mapping

from amzmq.cli.serving import NotServable, load
from amzmq.machine import Machine
from amzmq.sidecar.config import AttachConfig
from amzmq.sidecar.directory import Exposed
from amzmq.sidecar.host import Host
from amzmq.sidecar.states import JobStates


class AttachJob:
    """Shows a machine that Python code makes; it ends with the machine.

    Args:
        name: Its name in the configuration.
        config: What it was told.
        host: What the daemon lends.

    Attributes:
        mach: Its life.
        status: 0: nothing that can end has a status.
    """

    status = 0

    def __init__(self, name: str, config: AttachConfig, host: Host) -> None:
        self.name = name
        self.config = config
        self.mach = Machine(JobStates, id=f"job-{name}")
        self._host = host
        self._exposed: Exposed | None = None
        self._machine: Machine | None = None

    async def start(self) -> None:
        """Load the machine and show it.

        Raises:
            NotServable: The target names no machine.
            IdTaken: Another machine of this id is shown already.
            AddressInUse: Somebody else listens at its address.
        """
        self.mach.add("Starting")
        machine = await load(self.config.target)
        if machine.is_disposed:
            # One that the module keeps; an earlier run of this job may have ended it.
            target = self.config.target
            raise NotServable(f"{target} has ended; name a function that makes a new machine")
        try:
            self._exposed = await self._host.directory.serve(
                machine, self.config.bind, self.config.lock, self.config.limits
            )
        except BaseException:
            machine.dispose()
            raise
        self._machine = machine
        self.mach.add("Ready")
        machine.on_dispose(self._ended)

    def _ended(self) -> None:
        if self.mach.is_("Ready"):
            self.mach.add("Exited")

    async def stop(self, signal: int | None = None) -> None:
        """Show it no more, and dispose it."""
        if self._exposed is not None:
            self.mach.add("Exited")
            await self._host.directory.withdraw(self._exposed)
            self._exposed = None
        if self._machine is not None:
            self._machine.dispose()
            await self._machine.when_disposed()
        self.mach.dispose()
        await self.mach.when_disposed()

    def signal(self, number: int) -> None:
        """Signals are the daemon's here."""

    def kill(self) -> None:
        """It is quick already."""

    def metrics(self) -> Mapping[str, float]:
        """It counts nothing by itself."""
        return {}
