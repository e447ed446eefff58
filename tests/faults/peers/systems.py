"""The peers: what each needs, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from bench.needs import Needs
from tests.faults.peers import broker
from tests.oracles.promises import Promise


@dataclass(frozen=True, slots=True)
class System:
    """A peer.

    Attributes:
        name: Its name on the command line.
        title: Its name on the page.
        needs: What has to be installed.
        broker: The command of its server and what that says when ready; None without one.
        has_one_stream: Whether states and events go the same way, and can keep their order.
        unclaimed: Promises that it does not make.
        claims: What it says of itself, and how it was built here.
    """

    name: str
    title: str
    needs: Needs
    broker: tuple[broker.Command, str] | None
    has_one_stream: bool
    unclaimed: frozenset[Promise]
    claims: str


SYSTEMS = {
    system.name: system
    for system in (
        System(
            "clone",
            "Clone",
            Needs(),
            None,
            True,
            frozenset({Promise.ATOMIC, Promise.LOSSES_COUNTED}),
            "The reliable publish-subscribe of the ZeroMQ guide (chapter 5, one server), on "
            "zmq.asyncio: snapshot by ROUTER, numbered updates by PUB, HUGZ as heartbeat. Its "
            "client drops what is not newer than what it has, and does not look for holes in the "
            "numbers; it begins anew only when it hears nothing for a while. The guide knows no "
            "epochs: when a restarted server counts from the beginning before it was missed, its "
            "clients drop what it says until its numbers are higher than the old ones. It does not "
            "claim that what is lost is counted, nor that a replica is never between two states.",
        ),
        System(
            "redis",
            "Redis pub/sub",
            Needs(packages=("redis",), programs=("redis-server",)),
            (broker.redis, "Ready to accept connections"),
            True,
            frozenset({Promise.LOSSES_COUNTED}),
            "A hash with the state, written in one transaction with its announcement; followers "
            "subscribe, read the hash, and do so again after every lost connection. Redis says of "
            "pub/sub that it delivers at most once: events while nobody is connected are gone, and "
            "nobody is told.",
        ),
        System(
            "nats",
            "NATS KV watch",
            Needs(packages=("nats",), programs=("nats-server",)),
            (broker.nats, "Server is ready"),
            False,
            frozenset({Promise.ATOMIC}),
            "A key-value bucket of JetStream that is watched, and a stream with the events, by an "
            "ordered consumer. JetStream keeps events, so none should be missing. It claims order "
            "within a key and within a stream, not between the bucket and the stream (which is not "
            "judged), and after a gap only the newest value of each key: a replica may show "
            "combinations of keys that the source never had.",
        ),
    )
}
