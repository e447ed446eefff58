"""What a job is, and which ones there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from amzmq.machine import Machine
from amzmq.sidecar.application import ExecJob
from amzmq.sidecar.attach import AttachJob
from amzmq.sidecar.config import AttachConfig, ExecConfig, JobConfig, RelayConfig
from amzmq.sidecar.host import Host
from amzmq.sidecar.relaying import RelayJob


class Job(Protocol):
    """Something that the daemon runs, and that shows machines in its directory.

    A job of another kind is a class like this and a line in `KINDS_RUN`.
    """

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def config(self) -> JobConfig:
        """What it was told."""

    @property
    def mach(self) -> Machine:
        """Its life: at least the `JobStates`."""

    @property
    def status(self) -> int:
        """The exit status that it would give the daemon."""

    async def start(self) -> None:
        """Show its machines and begin; it need not be Ready afterwards.

        Raises:
            AmzmqError: It cannot run; nothing of it is left.
        """

    async def stop(self, signal: int | None = None) -> None:
        """End in good order, by this signal where signals mean anything; show nothing more."""

    def signal(self, number: int) -> None:
        """A signal came to the daemon; it may concern the job."""

    def kill(self) -> None:
        """Be quick about a `stop` that is under way."""

    def metrics(self) -> Mapping[str, float]:
        """Counters by name; they only ever grow."""


@dataclass(frozen=True, slots=True)
class _Kind:
    config: type[Any]
    make: Callable[[str, Any, Host], Job]


KINDS_RUN = (
    _Kind(ExecConfig, ExecJob),
    _Kind(AttachConfig, AttachJob),
    _Kind(RelayConfig, RelayJob),
)


def make(name: str, config: JobConfig, host: Host) -> Job:
    """The job of a configuration that was checked."""
    kind = next(kind for kind in KINDS_RUN if isinstance(config, kind.config))
    return kind.make(name, config, host)
