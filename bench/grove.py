"""A planned tree, grown small and simulated: real wire code, virtual time, losses and deaths.

Nothing here knows how the protocol heals: sources, relays and clients are those of the library,
on the network in memory, and the clock jumps from timer to timer. The same seed does the same.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from amzmq import Client, Machine, Mux
from amzmq.net import MemoryNetwork, MemoryTransport, RandomFaults
from amzmq.rpc import Relay
from amzmq.wire.journal import JournalLimits
from bench import virtual
from bench.report import BenchError
from bench.scenario import small_machine
from bench.tree import Tree

SOURCE = "mem://source"
HEARTBEAT_S = 0.5
# So small that whoever is away for a while needs a snapshot, and loses payloads.
JOURNAL = 64
UPSTREAMS = 3
# At least so many, and until the last death is over.
UPDATES, INTERVAL_S = 200, 0.05
PAYLOAD_EVERY = 5
AWAY_S = 0.2, 2.5
PATIENCE_S = 600.0
# Of a simulated client or relay, for the estimate of what memory allows.
EACH_KIB = 100


@dataclass(frozen=True, slots=True)
class Scale:
    """What of a tree is simulated.

    Attributes:
        followers: At the edge.
        relays: On each level, from the top.
        of: Subscribers in the plan.
        of_relays: Relays in the plan, likewise.
    """

    followers: int
    relays: tuple[int, ...]
    of: int
    of_relays: tuple[int, ...]

    def __str__(self) -> str:
        relays = " + ".join(f"{nodes:,}" for nodes in self.relays) or "no"
        planned = " + ".join(f"{nodes:,}" for nodes in self.of_relays) or "no"
        return (
            f"1 : {self.of / self.followers:,.0f} ({self.followers:,} followers below {relays} "
            f"relays stand for {self.of:,} below {planned})"
        )


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to a simulated tree.

    Attributes:
        drop: Share of the feed's frames that each receiver loses.
        late: Share of the others that others overtake.
        deaths: How many relays die without a word, and come back; those of a level in turn.
    """

    drop: float = 0.02
    late: float = 0.05
    deaths: int = 6


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a simulation ended.

    Attributes:
        scale: What was simulated.
        updates, payloads: How many the source sent.
        dropped: Frames that the network lost, by chance or with a connection.
        deaths: Relays that died.
        gaps: Losses that followers at the edge noticed.
        snapshots: How often one of them began anew.
        payloads_lost: Payloads that the followers counted as lost, all together.
        different: Followers that do not equal the source.
        uncounted: Followers whose payloads, given and lost, are not those that were sent.
        virtual_s: How long it took in its own time.
        wall_s: And in ours.
    """

    scale: Scale
    updates: int
    payloads: int
    dropped: int
    deaths: int
    gaps: int
    snapshots: int
    payloads_lost: int
    different: tuple[str, ...]
    uncounted: tuple[str, ...]
    virtual_s: float
    wall_s: float

    @property
    def holds(self) -> bool:
        """Whether all are equal and every loss was counted."""
        return not self.different and not self.uncounted


def scale_of(tree: Tree, followers: int) -> Scale:
    """A smaller tree of the same depth and proportions.

    The number of nodes of each level is taken to the same power, so a tree of a thousand on each
    of three levels becomes one of six on each; never fewer than two where there are several.
    """
    load, levels = tree.load, tree.levels[1:]
    followers = max(1, min(followers, load.subscribers))
    power = math.log(followers) / math.log(load.subscribers) if load.subscribers > 1 else 1.0
    relays = tuple(
        min(level.nodes, max(2, round(level.nodes**power))) if level.nodes > 1 else 1
        for level in levels
    )
    return Scale(followers, relays, load.subscribers, tuple(level.nodes for level in levels))


def most_followers(tree: Tree, wanted: int, available_kib: int) -> int:
    """As many as are wanted, if half of the memory has room for them and their relays."""
    fits = available_kib // 2 // EACH_KIB
    return max(1, min(wanted, tree.load.subscribers, fits))


def simulate(scale: Scale, seed: int, faults: Faults | None = None) -> Outcome:
    """Grow, load, damage and heal a tree.

    Raises:
        BenchError: It did not heal.
    """
    began = time.perf_counter()
    with _quiet(), virtual.determined(seed):
        grove = _Grove(scale, seed, Faults() if faults is None else faults)
        try:
            outcome = virtual.run(grove.live())
        except (TimeoutError, virtual.Stuck) as err:
            raise BenchError(
                f"seed {seed}: the tree was not level within {PATIENCE_S:.0f} virtual seconds "
                f"({type(err).__name__} {err}); behind are {grove.behind()[:5]}"
            ) from None
    return replace(outcome, wall_s=time.perf_counter() - began)


@contextmanager
def _quiet() -> Iterator[None]:
    """The faults are meant: what the library says of them helps nobody here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class _Node:
    """A relay that can die."""

    def __init__(self, network: MemoryNetwork, name: str, upstream: Sequence[str]) -> None:
        self.name = name
        self.addr = f"mem://{name}"
        self.relay: Relay | None = None
        self._network = network
        self._upstream = upstream
        self._transports: list[MemoryTransport] = []

    async def start(self) -> None:
        self.relay = Relay(
            self._upstream,
            self.addr,
            f"{self.addr}.feed",
            self.name,
            heartbeat=HEARTBEAT_S,
            journal=JournalLimits(messages=JOURNAL),
            start_timeout=PATIENCE_S,
            conn_retry_delay=0.05,
            conn_retry_backoff=0.5,
            transport=self._transport(),
            new_transport=self._transport,
        )
        await self.relay.start()

    def _transport(self) -> MemoryTransport:
        transport = self._network.transport()
        self._transports.append(transport)
        return transport

    async def die(self) -> None:
        """Without a word: all connections end before the relay can say goodbye."""
        transports, self._transports = self._transports, []
        for transport in transports:
            await transport.close()
        await self.stop()

    async def stop(self) -> None:
        relay, self.relay = self.relay, None
        if relay is not None:
            await relay.stop()


class _Leaf:
    """A follower, and how many payloads it was given."""

    def __init__(self, network: MemoryNetwork, name: str, addrs: Sequence[str]) -> None:
        self.name = name
        self.given = 0
        self.client = Client(
            addrs,
            name,
            conn_timeout=1.0,
            conn_retries=100_000,
            conn_retry_delay=0.05,
            conn_retry_backoff=0.5,
            conn_retry_timeout=0.0,
            transport=network.transport(),
        )
        self.client.on_payload(self._take)

    def _take(self, payload: object) -> None:
        self.given += 1


class _Grove:
    """The tree, and what happens to it."""

    def __init__(self, scale: Scale, seed: int, faults: Faults) -> None:
        self._scale, self._faults = scale, faults
        self._rng = random.Random(seed)
        self._network = MemoryNetwork(seed)
        self._chance = RandomFaults(seed, faults.drop, delay=faults.late, max_delay=0.05)
        self._machine: Machine = small_machine()
        self._levels: list[list[_Node]] = []
        self._leaves: list[_Leaf] = []
        self._updates = 0
        self._payloads = 0
        self._deaths = 0

    async def live(self) -> Outcome:
        """All of it, until everybody is level or there is no hope."""
        mux = Mux(
            self._machine,
            SOURCE,
            f"{SOURCE}.feed",
            heartbeat=HEARTBEAT_S,
            journal=JournalLimits(messages=JOURNAL),
            transport=self._network.transport(),
        )
        await mux.start()
        try:
            await self._grow()
            self._network.feed_fault = self._chance
            async with asyncio.TaskGroup() as group:
                killing = group.create_task(self._kill())
                group.create_task(self._load(mux, killing))
            self._network.feed_fault = None
            async with asyncio.timeout(PATIENCE_S):
                await self._all_level()
                await asyncio.sleep(4 * HEARTBEAT_S)  # what is wrong now, a heartbeat shows
                await self._all_level()
            return self._outcome()
        finally:
            await self._end(mux)

    async def _grow(self) -> None:
        """Level by level, so that each finds the one above it."""
        above = [SOURCE]
        for level, count in enumerate(self._scale.relays, start=1):
            nodes = [
                _Node(self._network, f"r{level}.{at}", turned(above, at)) for at in range(count)
            ]
            async with asyncio.TaskGroup() as group:
                for node in nodes:
                    group.create_task(node.start())
            self._levels.append(nodes)
            above = [node.addr for node in nodes]
        for at in range(self._scale.followers):
            self._leaves.append(_Leaf(self._network, f"f{at}", turned(above, at)))
            self._leaves[-1].client.start()
        async with asyncio.timeout(PATIENCE_S):
            await self._all_level()

    async def _load(self, mux: Mux, killing: asyncio.Task[None]) -> None:
        """Updates at an even pace, and payloads between them."""
        while self._updates < UPDATES or not killing.done():
            (self._machine.remove if self._updates & 1 else self._machine.add)("C")
            if self._updates % PAYLOAD_EVERY == 0:
                self._payloads += 1
                mux.send_payload("n", self._payloads)
            self._updates += 1
            await asyncio.sleep(INTERVAL_S)

    async def _kill(self) -> None:
        """Relays die one after the other, of each level in turn, and come back."""
        if not self._levels:
            return
        for death in range(self._faults.deaths):
            node = self._rng.choice(self._levels[death % len(self._levels)])
            await asyncio.sleep(self._rng.uniform(0.0, UPDATES * INTERVAL_S / self._faults.deaths))
            await node.die()
            self._deaths += 1
            await asyncio.sleep(self._rng.uniform(*AWAY_S))
            await node.start()

    async def _all_level(self) -> None:
        """Look now and then: in virtual time that is as good as being told."""
        while self.behind():  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def _end(self, mux: Mux) -> None:
        for leaf in self._leaves:
            await leaf.client.stop()
        for nodes in reversed(self._levels):
            for node in nodes:
                await node.stop()
        await mux.stop()
        self._machine.dispose()
        await self._machine.when_disposed()

    # What came of it.

    def behind(self) -> list[str]:
        """The followers that do not have what the source has."""
        return [leaf.name for leaf in self._leaves if not self._is_level(leaf.client)]

    def _is_level(self, client: Client) -> bool:
        if client.following.net is None or client.mach.not_("Ready"):
            return False
        net, source = client.net_mach, self._machine
        return (
            list(net.time()) == list(source.time())
            and net.queue_tick == source.queue_tick
            and set(net.active_states()) == set(source.active_states())
        )

    def _outcome(self) -> Outcome:
        found = {leaf.name: leaf.client.metrics() for leaf in self._leaves}
        return Outcome(
            scale=self._scale,
            updates=self._updates,
            payloads=self._payloads,
            dropped=self._network.counts.dropped + self._network.counts.cut,
            deaths=self._deaths,
            gaps=sum(counts["gaps"] for counts in found.values()),
            snapshots=sum(counts["snapshots"] for counts in found.values()),
            payloads_lost=sum(counts["payloads_lost"] for counts in found.values()),
            different=tuple(self.behind()),
            uncounted=tuple(
                leaf.name
                for leaf in self._leaves
                if not leaf.given
                == found[leaf.name]["payloads"]
                == self._payloads - found[leaf.name]["payloads_lost"]
            ),
            virtual_s=asyncio.get_running_loop().time(),
            wall_s=0.0,
        )


def turned(addrs: Sequence[str], by: int) -> list[str]:
    """Some of the addresses, so that everybody begins with another one."""
    by %= len(addrs)
    return [*addrs[by:], *addrs[:by]][:UPSTREAMS]
