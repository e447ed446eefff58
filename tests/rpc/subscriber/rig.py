"""A Mux with machines, and subscribers of it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from amzmq import Subscriber
from amzmq.machine import Machine
from amzmq.net import MemoryNetwork
from amzmq.rpc import Mux
from amzmq.wire.control import Message
from amzmq.wire.control_frames import from_frame
from tests.rpc.rig import ADDR, QUICK, clock_of, machine, soon, until

DOOR, LAMP, BELL = "door", "lamp", "bell"


class House:
    """A Mux with machines, and subscribers of it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.network = MemoryNetwork()
        self._stack = stack
        self.sources: dict[str, Machine] = {}

    async def serve(self, *ids: str, **options: Any) -> Mux:
        self.sources = {id: machine(id) for id in ids}
        options.setdefault("bind", ADDR)
        options.setdefault("heartbeat", 0.05)
        mux = Mux(list(self.sources.values()), transport=self.network.transport(), **options)
        self._stack.push_async_callback(mux.stop)
        await mux.start()
        return mux

    def subscriber(self, *machines: str, user: str = "", **options: Any) -> Subscriber:
        sub = Subscriber(
            options.pop("addr", ADDR),
            machines or None,
            transport=self.network.transport(user),
            **(QUICK | options),
        )
        self._stack.push_async_callback(sub.stop)
        return sub

    async def follow(self, *machines: str, **options: Any) -> Subscriber:
        sub = self.subscriber(*machines, **options)
        sub.start()
        await soon(sub.ready())
        return sub

    async def level(self, sub: Subscriber) -> None:
        await until(lambda: all(self.is_level(sub, id) for id in sub))

    def is_level(self, sub: Subscriber, id: str) -> bool:
        return clock_of(sub[id]) == clock_of(self.sources[id])


def heard(network: MemoryNetwork, *kinds: type[Message]) -> list[Message]:
    """Notes the messages of these kinds from now on."""
    notes: list[Message] = []

    def note(frame: bytes) -> tuple[float]:
        message = from_frame(frame)
        if isinstance(message, kinds):
            notes.append(message)
        return (0.0,)

    network.control_fault = note
    return notes
