"""What the daemon lends to its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from amzmq.sidecar.directory import Directory
from amzmq.sidecar.output import Outlet
from amzmq.sidecar.processes import Children


@dataclass(slots=True)
class Host:
    """What the daemon lends to its jobs.

    Attributes:
        directory: Where their machines are shown.
        children: What starts and reaps processes.
        stdout, stderr: Where the output of applications is passed on to.
        environment: What an application gets besides its own.
    """

    directory: Directory
    children: Children
    stdout: Outlet
    stderr: Outlet
    environment: Mapping[str, str] = field(default_factory=dict)
