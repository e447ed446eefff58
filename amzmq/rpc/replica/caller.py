"""The seam between a replica and what carries its mutations and waits to the source."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from typing import Protocol

from amzmq.machine import MutationType, Result
from amzmq.machine.event import HasSource
from amzmq.rpc.blobdesk import BlobDesk
from amzmq.rpc.replica.watches import RemoteWait
from amzmq.wire.control import WatchKind


class Caller(Protocol):
    """What carries a replica's mutations and waits to the source."""

    @property
    def blobs_above(self) -> BlobDesk | None:
        """Gets chunks of blobs from where the replica comes from; None if it cannot."""

    def call(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Future[Result]:
        """Send a mutation; the future ends when its effect is applied here."""

    def notify(
        self,
        kind: MutationType,
        called: tuple[int, ...],
        args: Mapping[str, object],
        event: HasSource | None,
    ) -> Result:
        """Send a mutation that nobody waits for."""

    def watch(
        self, kind: WatchKind, called: tuple[int, ...], args: Mapping[str, object] | None
    ) -> RemoteWait:
        """Wait for something that only the source can see."""

    def renumber(self, new: Mapping[int, int]) -> None:
        """The schema has changed; `new` gives each old state index its new one."""
