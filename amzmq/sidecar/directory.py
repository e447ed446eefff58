"""The machines that the daemon shows: served over ZeroMQ, listed and reached over HTTP."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterator, Mapping

from amzmq.cli.security import Lock
from amzmq.errors import AmzmqError, NotConnected
from amzmq.machine import Machine
from amzmq.machine.api import Api
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.limits import Limits
from amzmq.rpc.server.mux import Mux
from amzmq.sidecar.instance import Claim
from amzmq.sidecar.journal import Journal
from amzmq.wire.codec import Value

_log = logging.getLogger("amzmq.sidecar")


UNLOCKED = Lock()


class IdTaken(AmzmqError):
    """Two machines of one daemon have the same id."""


class Serving(enum.Enum):
    """Whose the Mux of a machine is, and so what is ended with the machine."""

    OWN = "own"
    SHARED = "shared"
    FOREIGN = "foreign"


class Exposed:
    """A machine that is shown.

    Args:
        machine: A machine, or a replica of one.
        mux: What serves it; None if nothing that we know of does.
        serving: Whether that is its own, one for other machines as well, or somebody else's.
        claim: The right to its address.
        metrics: Further counters, e.g. of the client that it is a replica of.
        id: What it is shown as; its own id if empty.

    Attributes:
        id: What it is shown as.
        journal: Its last changes and payloads.
    """

    def __init__(
        self,
        machine: Api,
        mux: Mux | None = None,
        serving: Serving = Serving.OWN,
        claim: Claim | None = None,
        metrics: Callable[[], Mapping[str, float]] = dict,
        id: str = "",
    ) -> None:
        self.machine = machine
        self.id = id or machine.id
        self.mux = mux
        self.metrics = metrics
        self.journal = Journal(machine, self.id)
        self._serving = serving
        self._claim = claim

    @property
    def addr(self) -> str:
        """Where clients connect to, and ask for its id; "" if it is not served."""
        return self.mux.addr if self.mux is not None else ""

    @property
    def clients(self) -> dict[str, int]:
        """Its followers' ids, each with the messages that it has not confirmed."""
        servers = self.mux.servers if self.mux is not None else ()
        return {s.client.name: s.lag for s in servers if s.feed.source is self.machine}

    @property
    def is_stale(self) -> bool:
        """Whether it is a relayed machine whose source is away: what is shown was so then."""
        return isinstance(self.machine, NetworkMachine) and self.machine.is_stale

    def send_payload(self, name: str, data: Value) -> None:
        """Send data to every follower, over both ways.

        Raises:
            NotConnected: This machine is a replica: only its source sends.
            InvalidArgs: `data` cannot travel.
        """
        if self.mux is None or not self.machine.is_local:
            raise NotConnected(
                f"payload {name!r}: {self.id} is a replica; send it where its source is"
            )
        self.mux.send_payload(name, data, machine=self.machine.id)
        self.journal.append("payload", {"name": name, "data": data})

    async def close(self) -> None:
        """Tell followers what is last, then goodbye; stop serving."""
        self.journal.close()
        try:
            if self.mux is not None and self._serving is Serving.SHARED:
                self.mux.unserve(self.machine.id)
            elif self.mux is not None and self._serving is Serving.OWN:
                await self.mux.stop("the sidecar stops serving it")
        finally:
            if self._claim is not None:
                self._claim.release()


class Directory:
    """All machines that are shown, by id.

    Args:
        name: The daemon's, for those who want one of its addresses.

    Attributes:
        name: Likewise.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._exposed: dict[str, Exposed] = {}
        self._common: Mux | None = None

    def __iter__(self) -> Iterator[Exposed]:
        return iter(list(self._exposed.values()))

    def get(self, id: str) -> Exposed | None:
        """The machine of this id."""
        return self._exposed.get(id)

    async def open(
        self, machine: Machine, bind: str, lock: Lock = UNLOCKED, limits: Limits | None = None
    ) -> Exposed:
        """Serve and show the daemon's own machine, at the address that others may share.

        Raises:
            AddressInUse: Somebody else listens there.
        """
        exposed = await self.serve(machine, bind, lock, limits)
        self._common = exposed.mux
        return exposed

    async def serve(
        self, machine: Machine, bind: str, lock: Lock = UNLOCKED, limits: Limits | None = None
    ) -> Exposed:
        """Serve a machine of this process and show it.

        Args:
            machine: The machine.
            bind: Its own address; where the daemon's machine is if empty.
            lock: Who may connect there.
            limits: How much they may use.

        Raises:
            IdTaken: There is one of this id.
            AddressInUse: Somebody else listens there.
        """
        self._refuse_second(machine.id)
        if not bind:
            return self._serve_beside(machine)
        claim = Claim.on(bind, self.name)
        mux: Mux | None = None
        try:
            mux = Mux(
                machine,
                bind=bind,
                transport=lock.transport(limits),
                rights=lock.policy(),
                limits=limits,
            )
            await mux.start()
        except BaseException:
            if mux is not None:
                await mux.stop()
            if claim is not None:
                claim.release()
            raise
        _log.info("serving %s at %s", machine.id, mux.addr)
        return self._add(Exposed(machine, mux, claim=claim))

    def _serve_beside(self, machine: Machine) -> Exposed:
        if self._common is None:
            raise NotConnected(f"{machine.id} has no address, and there is none to share")
        self._common.serve(machine)
        _log.info("serving %s at %s", machine.id, self._common.addr)
        return self._add(Exposed(machine, self._common, Serving.SHARED))

    def show(
        self,
        machine: Api,
        metrics: Callable[[], Mapping[str, float]] = dict,
        id: str = "",
        mux: Mux | None = None,
    ) -> Exposed:
        """Show a machine that something else serves, e.g. a replica.

        Args:
            machine: The machine.
            metrics: Further counters.
            id: What it is shown as; its own id if empty.
            mux: What serves it, if that is known; whose it is ends it.

        Raises:
            IdTaken: There is one of this id.
        """
        self._refuse_second(id or machine.id)
        return self._add(Exposed(machine, mux, Serving.FOREIGN, metrics=metrics, id=id))

    def _refuse_second(self, id: str) -> None:
        if id in self._exposed:
            raise IdTaken(f"machine id {id!r} is shown already; give one of the two another id")

    def _add(self, exposed: Exposed) -> Exposed:
        self._exposed[exposed.id] = exposed
        return exposed

    async def withdraw(self, exposed: Exposed) -> None:
        """Show it no more, and stop serving it if we did."""
        self._exposed.pop(exposed.id, None)
        await exposed.close()
