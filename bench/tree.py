"""The tree of relays that carries a load, computed from unit costs; a model, kept simple.

A node's own thread hands each update to libzmq, whose I/O thread writes it to every follower.
Either can be what limits a node, and so can its network. What is assumed:

- Updates come at random moments. A node sends one that finds it idle by itself, which is dear: all
  sockets are written for it alone. That is a *pass*. Those that come meanwhile wait for its end
  and share the next one, so a node that is always busy is not overloaded. How many followers it
  can have depends on what updates cost that share their passes; how long they wait, on a pass.
- Changes of one loop turn are one update.
- An update is a packet of its own, with `PACKET_BYTES` around it. Under load many share one.
- Followers are spread evenly, and the delays of the nodes of a way do not depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.costs import UnitCosts
from bench.report import BenchError

# Ethernet with its gap and preamble 38, IPv4 20, TCP with timestamps 32, ZMTP 2.
PACKET_BYTES = 92
# How often the fan-out is halved in search of a tree that is quick enough.
HALVINGS = 8

THREAD, IO, NETWORK = "its own thread", "the I/O thread", "the network"
CHOSEN = "the fan-out allowed"


class Impossible(BenchError):
    """No tree carries this load; says why, and what would help."""

    def __init__(self, why: str) -> None:
        super().__init__(f"impossible: {why}")


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be carried.

    Attributes:
        subscribers: Followers at the edge.
        updates: Updates a second.
        size: Bytes of an update's frame.
    """

    subscribers: int
    updates: float
    size: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node has, and how much of it may be used.

    Attributes:
        cores: For the two threads of a node; more than two are of no use to it.
        bandwidth_mbit: What it can send, in Mbit/s.
        latency_ms: Of the network between two nodes, one way.
        utilisation: The share of a thread, and of the network, that may be used.
        fan_out: The most followers of one node.
        spare: Relays of each level that may be away, while the others are within the limits.
        heartbeat_s: Between two heartbeats; each is sent as an update is.
        max_delay_ms: What the 99th percentile of the delay may be; None for anything.
    """

    cores: float = 2.0
    bandwidth_mbit: float = 1_000.0
    latency_ms: float = 0.25
    utilisation: float = 0.6
    fan_out: int = 1_000
    spare: int = 1
    heartbeat_s: float = 1.0
    max_delay_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """Nodes at the same distance from the source.

    Attributes:
        name: Of the level, for people.
        nodes: How many.
        fan_out: Followers of each of them, at most.
        thread: Share of a core that its own thread takes.
        io: Share of a core that its I/O thread takes; 1.0 means that updates share their writes.
        out_mbit: What each sends, in Mbit/s.
        memory_mib: Of each, in MiB.
        p50_ms, p99_ms: What the level adds to the delay.
        limit: What keeps a node from having more followers.
        most: The most followers that a node can have.
    """

    name: str
    nodes: int
    fan_out: int
    thread: float
    io: float
    out_mbit: float
    memory_mib: float
    p50_ms: float
    p99_ms: float
    limit: str
    most: int


@dataclass(frozen=True, slots=True)
class Tree:
    """What carries a load; the source is the first level."""

    load: Load
    limits: Limits
    levels: tuple[Level, ...]
    p50_ms: float
    p99_ms: float

    @property
    def relays(self) -> int:
        """How many there are."""
        return sum(level.nodes for level in self.levels[1:])

    @property
    def depth(self) -> int:
        """Levels of relays."""
        return len(self.levels) - 1

    @property
    def total_mbit(self) -> float:
        """What all nodes send together."""
        return sum(level.nodes * level.out_mbit for level in self.levels)


class Model:
    """Computes trees.

    Args:
        costs: Of a unit of work.
        load: What is to be carried.
        limits: What a node has.
    """

    def __init__(self, costs: UnitCosts, load: Load, limits: Limits) -> None:
        self.costs, self.load, self.limits = costs, load, limits
        self._rate = load.updates + 1.0 / limits.heartbeat_s
        self._packet_mbit = (load.size + PACKET_BYTES) * 8 / 1e6

    def plan(self) -> Tree:
        """The tree with the fewest relays.

        Raises:
            Impossible: There is none.
        """
        self._check_edge()
        quick_enough, quickest = self.limits.max_delay_ms, math.inf
        for halving in range(HALVINGS):
            most = max(2, self.limits.fan_out >> halving)
            tree = Model(self.costs, self.load, replace(self.limits, fan_out=most))._grow()
            # A smaller fan-out needs more relays, so the first that is quick enough has the fewest.
            if quick_enough is None or tree.p99_ms <= quick_enough:
                return replace(tree, limits=self.limits)
            quickest = min(quickest, tree.p99_ms)
            if most == 2:
                break
        raise Impossible(
            f"a p99 delay of {quick_enough:g} ms: the quickest tree has {quickest:.2f} ms. Allow "
            "more, fewer subscribers, or a network of less latency"
        )

    def most(self, is_source: bool) -> tuple[int, str]:
        """The most followers that a node can have, and what limits it."""
        found = {name: math.floor(value) for name, value in self._mosts(is_source).items()}
        limit = min(found, key=found.__getitem__)
        return found[limit], limit

    def _mosts(self, is_source: bool) -> Mapping[str, float]:
        work, limits = self.costs.loaded, self.limits
        thread_us, io_us = work.at(is_source, 0)
        spent = limits.utilisation * 1e6 / self._rate
        network = limits.utilisation * limits.bandwidth_mbit / (self._rate * self._packet_mbit)
        # Both threads may have to share what cores there are.
        cores = (spent * limits.cores - thread_us - io_us) / (work.child_us + work.io_child_us)
        found = {NETWORK: network, CHOSEN: float(limits.fan_out), f"{limits.cores:g} cores": cores}
        if work.child_us:
            found[THREAD] = (spent - thread_us) / work.child_us
        if work.io_child_us:
            found[IO] = (spent - io_us) / work.io_child_us
        return found

    def _check_edge(self) -> None:
        """What no tree can help with: the ends of it."""
        load, costs, share = self.load, self.costs, self.limits.utilisation
        advice = (
            "Merge updates (push_interval), or split the machine: each part has a source of its own"
        )
        each_us = costs.loaded.at(True, 1)[0]
        able = share * 1e6 / each_us
        if self._rate > able:
            raise Impossible(
                f"{load.updates:,.0f} updates a second: the source's thread needs "
                f"{each_us:.1f} us for each, which is {able:,.0f} a "
                f"second at {share:.0%} of a core. {advice}"
            )
        if load.updates > share * costs.apply_rate:
            raise Impossible(
                f"{load.updates:,.0f} updates a second: a follower applies "
                f"{costs.apply_rate:,.0f} at full speed, {share:.0%} of it to be safe. {advice}"
            )
        for is_source, name in ((True, "the source"), (False, "a relay")):
            most, limit = self.most(is_source)
            if most < 1:
                raise Impossible(
                    f"{load.updates:,.0f} updates a second of {load.size} B: {limit} of {name} "
                    f"does not carry them to a single follower. {advice}, or give it more of that"
                )

    def _grow(self) -> Tree:
        most_source, most_relay = self.most(True)[0], self.most(False)[0]
        counts = [self.load.subscribers]
        while counts[0] > most_source:
            above = math.ceil(counts[0] / most_relay) + self.limits.spare
            if above >= counts[0]:
                raise Impossible(
                    f"{self.load.subscribers:,} subscribers: a relay serves {most_relay}, the "
                    f"source {most_source}, so another level of relays would be no smaller than "
                    f"the one below it. What limits them is {self.most(False)[1]}"
                )
            counts.insert(0, above)
        counts.insert(0, 1)
        levels = tuple(
            self._level(at, nodes, math.ceil(counts[at + 1] / nodes))
            for at, nodes in enumerate(counts[:-1])
        )
        p50 = sum(level.p50_ms for level in levels)
        rare = math.hypot(*(level.p99_ms - level.p50_ms for level in levels))
        return Tree(self.load, self.limits, levels, p50, p50 + rare)

    def _level(self, at: int, nodes: int, fan_out: int) -> Level:
        costs, is_source = self.costs, at == 0
        most, limit = self.most(is_source)
        thread, io = self._used(is_source, fan_out)
        p50, p99 = self._delays(is_source, fan_out)
        return Level(
            name="source" if is_source else f"relays {at}",
            nodes=nodes,
            fan_out=fan_out,
            thread=thread,
            io=io,
            out_mbit=self._rate * fan_out * self._packet_mbit,
            memory_mib=(costs.node_kib + costs.client_kib * fan_out) / 1024,
            p50_ms=p50,
            p99_ms=p99,
            limit=limit,
            most=most,
        )

    def _used(self, is_source: bool, fan_out: int) -> tuple[float, float]:
        """Shares of a core: a pass for each update until there is always one, then what is due."""
        loaded, single = (
            [self._rate * us / 1e6 for us in work.at(is_source, fan_out)]
            for work in (self.costs.loaded, self.costs.single)
        )
        thread, io = (
            max(least, min(most, 1.0)) for least, most in zip(loaded, single, strict=True)
        )
        return thread, io

    def _delays(self, is_source: bool, fan_out: int) -> tuple[float, float]:
        """What a level adds, in ms: the node, the pass before, its own pass, the network."""
        costs = self.costs
        p50, p99 = (
            (costs.direct_p50_us, costs.direct_p99_us)
            if is_source
            else (costs.hop_p50_us, costs.hop_p99_us)
        )
        wire_us = self._packet_mbit / self.limits.bandwidth_mbit * 1e6
        # The first follower's share is in what was measured with one.
        spread = (fan_out - 1) * max(costs.single.child_us, costs.single.io_child_us, wire_us)
        pass_us = max(costs.single.at(is_source, fan_out))
        busy = min(self._rate * pass_us / 1e6, 1.0)
        wait_50, wait_99 = waits(busy, pass_us)
        latency_us = self.limits.latency_ms * 1e3
        return (
            (p50 + spread / 2 + wait_50 + latency_us) / 1e3,
            (p99 + spread + wait_99 + latency_us) / 1e3,
        )


def waits(busy: float, pass_us: float) -> tuple[float, float]:
    """Median and 99th percentile of the wait for the end of a pass that is under way.

    Args:
        busy: The share of the time in which one is.
        pass_us: How long it takes.
    """
    if not busy:
        return 0.0, 0.0
    # Who finds it busy is at any point of the pass.
    return pass_us * max(0.0, 1.0 - 0.5 / busy), pass_us * max(0.0, 1.0 - 0.01 / busy)
