"""One machine that a relay follows: connected for as long as the relay lives.

A client alone gives up: after enough attempts, or when it is refused. A relay has somebody to
serve meanwhile, so this tries again, at the next address, for ever.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from itertools import islice

from amzmq.errors import AmzmqError, RpcError, SchemaMismatch
from amzmq.machine import Event
from amzmq.rpc.client.client import Client
from amzmq.rpc.replica.follower import Follower
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.retry import RetryPolicy

_log = logging.getLogger("amzmq.relay")

DOUBLINGS = 16
"""Failures after which the wait for the next attempt does not grow any more."""


class RelayLoop(RpcError):
    """An upstream's own path leads through this relay: it would follow itself."""


class Upstream:
    """Follows one machine.

    Args:
        make_client: Makes a client of it.
        retry: When to try again after a client gave up.
        level: Called when the replica is level with its source, again or for the first time.
        away: Called when the source is lost.
        aged: Called when a relay further up has lost its own, or found it again.

    Attributes:
        client: The present client.
        is_level: Whether its replica is level with its source.
        failure: Why the last attempt failed for good; None if it did not.
        failures: How often that happened since it was level.
        loops: How often an address led back here.
    """

    def __init__(
        self,
        make_client: Callable[[], Client],
        retry: RetryPolicy,
        level: Callable[[Upstream], None],
        away: Callable[[Upstream], None],
        aged: Callable[[Upstream], None],
    ) -> None:
        self.is_level = False
        self.failure: AmzmqError | None = None
        self.failures = 0
        self.loops = 0
        self._make_client = make_client
        self._retry = retry
        self._tell_level = level
        self._tell_away = away
        self._tell_aged = aged
        self._rng = random.Random()  # nosec B311  # only spreads waits
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()
        self._has_failed = False
        self._refused: RelayLoop | None = None
        self._former: Client | None = None
        self._replaced: Client | None = None
        self.client = self._new_client()
        self._keeping = asyncio.create_task(self._keep(), name=f"{self.client.mach.id}.upstream")

    def _new_client(self) -> Client:
        client = self._make_client()
        client.mach.bind(
            {
                "ReadyState": self._on_ready,
                "ReadyEnd": self._on_lost,
                "StaleState": self._on_aged,
                "StaleEnd": self._on_aged,
                "ConnRetryFailedState": self._on_failed,
            },
            id="upstream",
        )
        return client

    @property
    def net(self) -> NetworkMachine:
        """The replica that is level, or was last."""
        return (self._former or self.client).net_mach

    @property
    def follower(self) -> Follower:
        """What keeps it so."""
        return self.client.follower

    async def first(self) -> None:
        """Wait until the replica is level for the first time.

        Raises:
            AmzmqError: No address will ever do.
        """
        await self._first

    async def stop(self) -> None:
        """Stop following."""
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        if not self._first.cancel() and not self._first.cancelled():
            self._first.exception()  # whoever started us may have had enough of another one's
        for client in (self.client, self._former, self._replaced):
            if client is not None:
                await _stop(client)

    # What the client tells.

    def _on_ready(self, e: Event) -> None:
        if e.machine is not self.client.mach:
            return
        net = self.client.net_mach
        if net.id in net.path:
            self.loops += 1
            path = " > ".join(net.path)
            self._refused = RelayLoop(
                f"{self.client.addr} is reached by way of {net.id} itself: {path}. Follow an "
                "address that does not lead back here, or name two relays differently"
            )
            self.client.mach.add("ConnRetryFailed")
            return
        self.failure, self.failures = None, 0
        self.is_level = True
        if self._former is not None:
            self._former, self._replaced = None, self._former
            self._news.set()
        if not self._first.done():
            self._first.set_result(None)
        self._tell_level(self)

    def _on_lost(self, e: Event) -> None:
        if not self.is_level or e.machine is not self.client.mach:
            return
        self.is_level = False
        self._tell_away(self)

    def _on_aged(self, e: Event) -> None:
        if self.is_level and e.machine is self.client.mach:
            self._tell_aged(self)

    def _on_failed(self, e: Event) -> None:
        self._has_failed = True
        self._news.set()

    # Trying again.

    async def _keep(self) -> None:
        """Start, and start again after each failure."""
        while True:
            self.client.start()
            while not self._has_failed:
                await self._news.wait()
                self._news.clear()
                if self._replaced is not None:
                    replaced, self._replaced = self._replaced, None
                    await _stop(replaced)
            self._has_failed = False
            await self._note_failure()
            if self.failures >= len(self.client.addrs) and not self._first.done():
                assert self.failure is not None
                self._first.set_exception(self.failure)
                return
            await asyncio.sleep(self._delay())
            if isinstance(self.failure, SchemaMismatch) and self._first.done():
                await self._replace_client()
            else:
                self.client.next_addr()

    async def _note_failure(self) -> None:
        refused, self._refused = self._refused, None
        try:
            if refused is not None:
                raise refused
            await self.client.ready()
        except AmzmqError as error:
            self.failure = error
        self.failures += 1
        _log.warning("[%s] %s", self.client.mach.id, self.failure)

    def _delay(self) -> float:
        delays = self._retry.delays(self._rng)
        return next(islice(delays, min(self.failures, DOUBLINGS) - 1, None))

    async def _replace_client(self) -> None:
        """The machine has lost states: only another replica can show what it is now."""
        if self._former is None:
            self._former = self.client  # served until the new one is level
        else:
            await _stop(self.client)
        self.client = self._new_client()


async def _stop(client: Client) -> None:
    client.mach.detach("upstream")
    await client.stop()
