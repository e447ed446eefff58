"""The relay job: machines that live elsewhere, followed by the daemon and served again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from amzmq.errors import AmzmqError, ConnectFailed, NotConnected, Refused
from amzmq.machine import Machine
from amzmq.rpc.relay.relay import Relay
from amzmq.rpc.relay.upstream import RelayLoop
from amzmq.sidecar.config import BackoffConfig, RelayConfig
from amzmq.sidecar.directory import Exposed
from amzmq.sidecar.host import Host
from amzmq.sidecar.instance import Claim
from amzmq.sidecar.states import JobStates

_log = logging.getLogger("amzmq.sidecar.relay")

_UPSTREAM = (ConnectFailed, NotConnected, Refused, RelayLoop)
"""What may pass without anybody changing something here."""

_BACKOFF = BackoffConfig()


class RelayJob:
    """Follows machines elsewhere; Ready from the moment on that it was level with all of them.

    It waits for its upstream as long as it takes, at its start and whenever it is away later on.
    What cannot pass by waiting, an address that somebody else has or a second machine of one id,
    ends it: it has Failed.

    Args:
        name: Its name in the configuration.
        config: What it was told.
        host: What the daemon lends.

    Attributes:
        mach: Its life.
        status: 0: nothing that can end has a status.
    """

    status = 0

    def __init__(self, name: str, config: RelayConfig, host: Host) -> None:
        self.name = name
        self.config = config
        self.mach = Machine(JobStates, id=f"job-{name}")
        self._host = host
        self._claim: Claim | None = None
        self._relay: Relay | None = None
        self._shown: dict[str, Exposed] = {}
        self._replaced = asyncio.Event()
        self._living: asyncio.Task[None] | None = None
        self._failed_starts = 0
        self._loops = 0

    async def start(self) -> None:
        """Begin to look for upstream; it is shown and served once that was reached.

        Raises:
            AddressHeld: Another sidecar serves where it is to serve.
        """
        self._claim = Claim.on(self.config.bind, self._host.directory.name)
        self.mach.add("Starting")
        self._living = asyncio.create_task(self._live(), name=f"sidecar.{self.name}")

    async def stop(self, signal: int | None = None) -> None:
        """Show its machines no more, say goodbye to their followers, stop following."""
        if self._living is not None:
            if self.mach.not_("Failed"):  # else it is just ending what there was, or has
                self._living.cancel()
            await asyncio.wait([self._living])
        try:
            await self._end()
            if self._living is not None and not self._living.cancelled():
                self._living.result()
        finally:
            if self._claim is not None:
                self._claim.release()
                self._claim = None
            if self.mach.not_("Failed"):
                self.mach.add("Exited")
            self.mach.dispose()
            await self.mach.when_disposed()

    def signal(self, number: int) -> None:
        """Signals are the daemon's here."""

    def kill(self) -> None:
        """It is quick already."""

    def metrics(self) -> Mapping[str, float]:
        """Starts that failed, and what befell the relay; the mux and the clients count the rest."""
        told = {} if self._relay is None else self._relay.metrics()
        return {
            "failed_starts": self._failed_starts,
            "journal_restarts": told.get("journal_restarts", 0),
            "refused_loops": self._loops + told.get("refused_loops", 0),
        }

    # Its life: one task.

    async def _live(self) -> None:
        try:
            self._relay = await self._started()
            self._show()
            self.mach.add("Ready")
            while True:
                await self._replaced.wait()
                self._replaced.clear()
                await self._show_replaced()
        except Exception as error:
            if isinstance(error, AmzmqError):
                _log.error("[%s] it cannot go on: %s", self.name, error)
            else:
                _log.exception("[%s] the job failed", self.name)
            self.mach.add_err(error)
            self.mach.add("Failed")
            await self._end()

    async def _started(self) -> Relay:
        """A relay that is level with upstream, however long that takes."""
        lock, new_transport = self.config.lock, self.config.credentials.transports()
        while True:
            relay = Relay(
                self.config.upstream,
                self.config.bind,
                machines=self._machines,
                limits=self.config.limits,
                transport=lock.transport(self.config.limits),
                new_transport=new_transport,
                rights=lock.policy(),
            )
            try:
                await relay.start()
            except _UPSTREAM as error:
                self._loops += isinstance(error, RelayLoop)
                self._failed_starts += 1
                delay = _BACKOFF.delay(self._failed_starts - 1)
                _log.warning("[%s] tries again in %g s: %s", self.name, delay, error)
                await asyncio.sleep(delay)
            except BaseException:
                await relay.stop()  # should its own clean-up have been cut short
                raise
            else:
                _log.info("[%s] relaying %s at %s", self.name, " ".join(relay.machines), relay.addr)
                return relay

    @property
    def _machines(self) -> tuple[str, ...] | None:
        return self.config.machines or None

    def _show(self) -> None:
        assert self._relay is not None
        for id, net in self._relay.machines.items():
            if id not in self._shown:
                metrics = partial(_client_metrics, self._relay, id)
                self._shown[id] = self._host.directory.show(net, metrics, id, self._relay.mux)
                net.on_dispose(self._replaced.set)

    async def _show_replaced(self) -> None:
        """A source that came back with fewer states has another replica."""
        assert self._relay is not None
        for id, net in self._relay.machines.items():
            if self._shown[id].machine is not net:
                await self._host.directory.withdraw(self._shown.pop(id))
        self._show()

    async def _end(self) -> None:
        shown, self._shown = self._shown, {}
        for exposed in shown.values():
            await self._host.directory.withdraw(exposed)
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.stop("the sidecar stops serving it")


def _client_metrics(relay: Relay, id: str) -> Mapping[str, float]:
    return relay.clients[id].metrics()
