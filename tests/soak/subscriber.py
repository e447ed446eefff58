"""A `Subscriber` in the shape in which the recorder watches a `Client`."""

from __future__ import annotations

from collections.abc import Callable

from amzmq.machine import Machine
from amzmq.rpc import NetworkMachine, Payload, Subscriber
from amzmq.rpc.client.following import Following
from amzmq.rpc.replica.follower import Follower

MACHINE = "src"


class OneMachine:
    """What a subscriber shows of the one machine that it follows.

    Args:
        subscriber: Not started yet.
    """

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.mach: Machine = subscriber.mach

    def start(self) -> None:
        self.subscriber.start()

    async def stop(self) -> None:
        await self.subscriber.stop()

    async def sync(self) -> None:
        await self.subscriber.sync()

    @property
    def following(self) -> Following:
        return self.subscriber.machine(MACHINE).following

    @property
    def follower(self) -> Follower:
        return self.subscriber.machine(MACHINE).follower

    @property
    def net_mach(self) -> NetworkMachine:
        return self.subscriber[MACHINE]

    @property
    def epoch(self) -> bytes:
        return self.following.epoch

    def on_payload(self, callback: Callable[[Payload], None]) -> None:
        self.subscriber.on_payload(callback)

    def metrics(self) -> dict[str, int]:
        """The counters; a subscriber calls nothing."""
        nothing = dict.fromkeys(("ns_sent", "ns_received", "ns_refused"), 0)
        return nothing | self.subscriber.metrics()
