"""Many clients at the price of few: raw dealers that say what a test makes them say."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from amzmq.net import MemoryNetwork
from amzmq.wire.control import PROTOCOL_VERSION, Hello, Message, Sync, Welcome
from amzmq.wire.control_frames import from_frame, to_frame

from .rig import ADDR, turns, until

_Kind = TypeVar("_Kind")


class Crowd:
    """Dealers at `ADDR`, each with all that it was told."""

    def __init__(self, network: MemoryNetwork, size: int) -> None:
        transport = network.transport()
        self.heard: list[list[Message]] = [[] for _ in range(size)]
        self.dealers = [
            transport.dealer(ADDR, partial(self._hear, at), lambda connected: None)
            for at in range(size)
        ]

    def _hear(self, at: int, frame: bytes, blobs: object) -> None:
        self.heard[at].append(from_frame(frame))

    def __len__(self) -> int:
        return len(self.dealers)

    def say(self, at: int, message: Message) -> None:
        assert self.dealers[at].send(to_frame(message))

    async def connected(self) -> None:
        """Waits until all are; none of them has said anything by then."""
        await until(lambda: all(dealer.connected for dealer in self.dealers))

    def hello(self) -> None:
        """All of them at once."""
        for at in range(len(self)):
            name = f"rc-{at}"
            self.say(at, Hello(PROTOCOL_VERSION, name, at.to_bytes(8, "big"), b""))

    async def welcomed(self) -> list[Welcome]:
        """Waits until all are."""
        await until(lambda: len(self.told(Welcome)) == len(self))
        return self.told(Welcome)

    def sync(self, epoch: bytes = b"", number: int = 0) -> None:
        """All of them miss the same, and ask under different numbers."""
        for at in range(len(self)):
            self.say(at, Sync(1000 + at, epoch, number))

    def told(self, kind: type[_Kind]) -> list[_Kind]:
        """The messages of a kind, by who was told."""
        return [message for heard in self.heard for message in heard if isinstance(message, kind)]


async def crowd(network: MemoryNetwork, size: int) -> Crowd:
    """A crowd that is welcome everywhere, and has heard nothing but that."""
    many = Crowd(network, size)
    await many.connected()
    many.hello()
    await many.welcomed()
    await turns(5)
    return many
