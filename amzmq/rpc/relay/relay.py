"""A relay: follows machines upstream and serves them downstream, so that one source reaches many.

Whoever follows the whole of a machine gets the source's own frames, with their numbers, as bytes:
a relay encodes nothing for them, answers what they missed from its own journal, and is
interchangeable with every other relay of the source. Views of a part are encoded here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from types import TracebackType

from amzmq.errors import ConnectFailed, NotConnected, RpcError
from amzmq.machine import Machine
from amzmq.net import Transport, ZmqTransport
from amzmq.rpc.client.client import Client
from amzmq.rpc.listing import MachineInfo, list_machines
from amzmq.rpc.relay.feed import RelayFeed
from amzmq.rpc.relay.states import RelayStates
from amzmq.rpc.relay.upstream import Upstream
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.retry import RetryPolicy
from amzmq.rpc.server.admission import NewServerFn, default_server
from amzmq.rpc.server.feed import FeedOptions
from amzmq.rpc.server.limits import Limits
from amzmq.rpc.server.mux import Mux
from amzmq.rpc.server.rights import Policy
from amzmq.rpc.server.server import ClientId
from amzmq.wire.journal import JournalLimits

_log = logging.getLogger("amzmq.relay")

WITHOUT_END = 1 << 62
"""Retries of a relay's clients: while its source is away it serves what it knows."""

FAILED_KEPT = 1024
"""Clients whose failed payloads are known, so that each is told upstream once."""


class Relay:
    """Serves machines that are served elsewhere.

    Args:
        upstream: Where they are served, by their owners or by other relays: one address, or
            several that are tried in order.
        bind: Where they are served again; see `Mux`.
        feed: Where that feed is published; see `Mux`.
        name: Names the relay among the nodes of a path; random when empty. No two relays
            between a source and a follower may have the same.
        machines: Ids of the machines; None for all that are served upstream at the start.
        heartbeat: Seconds between heartbeats downstream.
        journal: How much is kept for followers who missed something.
        limits: How much clients may use; see `Mux`.
        new_server: Makes the server of each client, or refuses it; see `Mux`.
        allow_ids: The client ids that are served; None for all.
        rights: What each user may do here; see `Mux`. Upstream all act as this relay.
        start_timeout: Seconds until all machines have to be there when the relay starts. Later
            on it waits for an upstream that went away as long as it takes.
        call_timeout: Seconds for one call upstream to be answered.
        conn_timeout: Seconds for one connection to be established.
        conn_retry_delay: Seconds before the next try; doubles.
        conn_retry_backoff: Cap of that, in seconds.
        transport: Carries what is served; ZeroMQ by default.
        new_transport: Makes what carries what is followed, for each machine; likewise.
        parent: The machine that the relay's own one belongs to.

    Attributes:
        mach: The relay's own state machine (`RelayStates`).
        mux: What serves; for its counters, and payloads to single clients of this relay.

    >>> async def relay(addr: str) -> None:
    ...     async with Relay(addr, bind="tcp://127.0.0.1:0") as relay:
    ...         print("relaying", *relay.machines, "at", relay.addr)
    ...         await relay.mach.when("Stale")
    """

    def __init__(
        self,
        upstream: str | Sequence[str],
        bind: str = "tcp://127.0.0.1:0",
        feed: str = "",
        name: str = "",
        *,
        machines: Collection[str] | None = None,
        heartbeat: float = 1.0,
        journal: JournalLimits | None = None,
        limits: Limits | None = None,
        new_server: NewServerFn | None = None,
        allow_ids: Collection[str] | None = None,
        rights: Policy | None = None,
        start_timeout: float = 30.0,
        call_timeout: float = 3.0,
        conn_timeout: float = 3.0,
        conn_retry_delay: float = 0.1,
        conn_retry_backoff: float = 3.0,
        transport: Transport | None = None,
        new_transport: Callable[[], Transport] = ZmqTransport,
        parent: Machine | None = None,
    ) -> None:
        self.upstream = (upstream,) if isinstance(upstream, str) else tuple(upstream)
        if not self.upstream or not all(self.upstream):
            raise NotConnected(
                f"upstream={upstream!r}: give the address of a Mux, e.g. 'tcp://127.0.0.1:7701'"
            )
        if machines is not None and not machines:
            raise RpcError("machines is empty: a relay of nothing; leave it out for all")
        self.name = name or secrets.token_hex(4)
        self.mach = Machine(RelayStates, id=f"relay-{self.name}", tags=["relay"], parent=parent)
        self.mux = Mux(
            (), bind, feed, self.name,
            heartbeat=heartbeat, journal=journal, limits=limits, transport=transport,
            new_server=new_server or default_server, allow_ids=allow_ids, rights=rights,
            parent=self.mach,
        )  # fmt: skip
        self._wanted = None if machines is None else tuple(machines)
        self._start_timeout = start_timeout
        self._call_timeout = call_timeout
        self._conn_timeout = conn_timeout
        self._retry = RetryPolicy(WITHOUT_END, conn_retry_delay, conn_retry_backoff, 0.0)
        self._new_transport = new_transport
        self._upstreams: dict[str, Upstream] = {}
        self._feeds: dict[str, RelayFeed] = {}
        self._paths: dict[str, tuple[str, ...]] = {}
        self._failed: OrderedDict[ClientId, int] = OrderedDict()

    # Life.

    async def start(self) -> None:
        """Follow upstream, and serve once level with it.

        Raises:
            ConnectFailed: No upstream was reached in time.
            Refused: None of them serves such a machine to this relay.
            RelayLoop: They are all reached by way of this relay.
            AddressInUse: Somebody else listens where the relay is to serve.
        """
        if self.mach.is_("Start"):
            raise RpcError(f"{self.mach.id} runs already")
        self.mach.add("Start")
        try:
            try:
                async with asyncio.timeout(self._start_timeout):
                    await self._follow()
            except TimeoutError:
                raise ConnectFailed(
                    f"no upstream at {' '.join(self.upstream)} within {self._start_timeout:g} s; "
                    "is a Mux serving there?"
                ) from None
            for machine_id, upstream in self._upstreams.items():
                self._serve(machine_id, upstream)
            await self.mux.start()
        except BaseException:
            await self.stop()
            raise
        self._look()

    async def _follow(self) -> None:
        wanted = self._wanted or await self._all_upstream()
        for machine_id in wanted:
            self._upstreams[machine_id] = Upstream(
                partial(self._make_client, machine_id, len(wanted) == 1),
                self._retry,
                partial(self._level, machine_id),
                self._away,
                self._aged,
            )
        for upstream in self._upstreams.values():
            await upstream.first()

    async def _all_upstream(self) -> tuple[str, ...]:
        """Ask the addresses in turn what there is, until one of them answers."""
        while True:
            for addr in self.upstream:
                transport = self._new_transport()
                try:
                    found = await list_machines(addr, self._conn_timeout, transport)
                except NotConnected as error:
                    _log.info("[%s] %s", self.mach.id, error)
                else:
                    if found:
                        return tuple(info.id for info in found)
                    await asyncio.sleep(self._retry.delay)  # it has nothing to serve yet
                finally:
                    await transport.close()

    def _make_client(self, machine_id: str, only: bool) -> Client:
        return Client(
            self.upstream,
            self.name if only else f"{self.name}.{machine_id}",
            machine=machine_id,
            call_timeout=self._call_timeout,
            conn_timeout=self._conn_timeout,
            conn_retries=self._retry.retries,
            conn_retry_delay=self._retry.delay,
            conn_retry_backoff=self._retry.backoff,
            conn_retry_timeout=0.0,
            transport=self._new_transport(),
            parent=self.mach,
        )

    async def stop(self, reason: str = "the relay stops") -> None:
        """Say goodbye to every client, stop following, close the sockets."""
        if self.mach.is_disposed:
            return
        await self.mux.stop(reason)
        for upstream in self._upstreams.values():
            await upstream.stop()
        self.mach.remove("Ready", "Stale", "Start")
        self.mach.dispose()
        await self.mach.when_disposed()

    async def __aenter__(self) -> Relay:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # What can be seen.

    @property
    def addr(self) -> str:
        """Where clients connect to, with port 0 resolved."""
        return self.mux.addr

    @property
    def feed_addr(self) -> str:
        """Where the feed is published."""
        return self.mux.feed_addr

    @property
    def machines(self) -> dict[str, NetworkMachine]:
        """The replicas that are served, by the ids of their machines."""
        return {machine_id: upstream.net for machine_id, upstream in self._upstreams.items()}

    @property
    def clients(self) -> dict[str, Client]:
        """What follows upstream, by machine."""
        return {machine_id: upstream.client for machine_id, upstream in self._upstreams.items()}

    def infos(self) -> list[MachineInfo]:
        """What is served, as `list_machines` tells others."""
        return self.mux.machines()

    def metrics(self) -> dict[str, int]:
        """All counters by name: those of the mux, and with ``upstream_`` those of the clients."""
        counts = Counter(self.mux.metrics())
        for client in self.clients.values():
            counts.update({f"upstream_{name}": n for name, n in client.metrics().items()})
        counts["refused_loops"] = sum(it.loops for it in self._upstreams.values())
        counts["journal_restarts"] = sum(feed.restarts for feed in self._feeds.values())
        return dict(counts)

    # What happens upstream.

    def _serve(self, machine_id: str, upstream: Upstream) -> None:
        def make_feed(
            machine: Machine | NetworkMachine, epoch: bytes, options: FeedOptions
        ) -> RelayFeed:
            feed = self._feeds[machine_id] = RelayFeed(
                upstream.net, epoch, options, upstream.follower,
                partial(self._count_failed, machine_id), self._feeds.get(machine_id),
            )  # fmt: skip
            return feed

        self._paths[machine_id] = upstream.net.path
        self.mux.serve(upstream.net, make_feed)

    def _level(self, machine_id: str, upstream: Upstream) -> None:
        """A replica is level with its source again, which may be another one now."""
        feed = self._feeds.get(machine_id)
        if feed is None:
            return  # the relay is just starting
        net = upstream.net
        if feed.source is not net:
            self.mux.unserve(machine_id)
            self._serve(machine_id, upstream)
        elif feed.follower is not upstream.follower:
            self._recall(machine_id, "the source was restarted", anew=True)
        else:
            feed.freeze(False)
            if net.path != self._paths[machine_id]:
                self._recall(machine_id, "the source is reached another way", anew=False)
        self._paths[machine_id] = net.path
        self._look()

    def _recall(self, machine_id: str, reason: str, anew: bool) -> None:
        self.mux.recall(machine_id, reason, anew=anew)
        self.mach.add("Recalled")
        _log.info("[%s] %s: %s", self.mach.id, machine_id, reason)

    def _away(self, upstream: Upstream) -> None:
        for feed in self._feeds.values():
            if feed.source is upstream.net:
                feed.freeze(True)
        self._look()

    def _aged(self, upstream: Upstream) -> None:
        """A relay further up has lost its source, or found it again: the followers hear of it."""
        for feed in self._feeds.values():
            if feed.source is upstream.net:
                feed.beat()
        self._look()

    def _look(self) -> None:
        """Is everything level, and nothing stale?"""
        away = [
            machine_id
            for machine_id, it in self._upstreams.items()
            if not it.is_level or it.net.is_stale
        ]
        if not away:
            self.mach.add("Ready")
        elif self.mach.not_("Stale"):
            _log.warning("[%s] no source of %s: it is stale", self.mach.id, " ".join(away))
            self.mach.add("Stale")

    def _count_failed(self, machine_id: str) -> None:
        """Add the payloads that our clients could not use to what is told upstream."""
        feed, deliveries = self._feeds[machine_id], self._upstreams[machine_id].client.deliveries
        for server in self.mux.servers:
            if server.feed is feed:
                known = self._failed.pop(server.client, 0)
                deliveries.failed += max(0, server.payloads_failed - known)
                self._failed[server.client] = server.payloads_failed
        while len(self._failed) > max(FAILED_KEPT, len(self.mux.servers)):
            self._failed.popitem(last=False)
