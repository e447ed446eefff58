"""Which machines a Mux serves: asked without becoming its client."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from amzmq.errors import FrameInvalid, NotConnected
from amzmq.net import Transport, ZmqTransport
from amzmq.wire.codec import Value
from amzmq.wire.control import List, Listing
from amzmq.wire.control_frames import from_frame, to_frame


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """A machine that is served somewhere.

    Attributes:
        id: Its id; give it to ``Client(machine=...)``.
        states: How many states it has.
        time_sum: The sum of their ticks.
        active: The active states.
        tags: Its labels.
        parent: Id of its parent machine; "" without one.
        path: Ids of the nodes that lead to it, its owner first.
        clients: How many clients follow it here.
        args: ``State.argument`` names that its handlers know, if it says so.
    """

    id: str
    states: int
    time_sum: int
    active: tuple[str, ...]
    tags: tuple[str, ...]
    parent: str
    path: tuple[str, ...]
    clients: int
    args: tuple[str, ...] = ()

    def value(self) -> list[Value]:
        """For `Listing.machines`."""
        return [
            self.id, self.states, self.time_sum, list(self.active), list(self.tags), self.parent,
            list(self.path), self.clients, list(self.args),
        ]  # fmt: skip

    @staticmethod
    def from_value(value: Value) -> MachineInfo:
        """What `value` gave.

        Raises:
            FrameInvalid: It has another form.
        """
        if not isinstance(value, list) or len(value) < 8:
            raise FrameInvalid(f"listing: {value!r} is no machine")
        id, states, time_sum, active, tags, parent, path, clients = value[:8]
        args = value[8] if len(value) > 8 else []
        texts = (id, parent)
        counts = (states, time_sum, clients)
        lists = (active, tags, path, args)
        if (
            not all(type(text) is str for text in texts)
            or not all(type(count) is int for count in counts)
            or not all(isinstance(items, list) for items in lists)
        ):
            raise FrameInvalid(f"listing: {value!r} is no machine")
        names = [tuple(str(item) for item in items) for items in lists]
        return MachineInfo(
            id, states, time_sum, names[0], names[1], parent, names[2], clients, names[3]
        )


def machines_of(message: Listing) -> list[MachineInfo]:
    """The machines of a listing, in the order served.

    Raises:
        FrameInvalid: One of them has another form.
    """
    return [MachineInfo.from_value(machine) for machine in message.machines]


async def list_machines(
    addr: str, timeout: float = 3.0, transport: Transport | None = None
) -> list[MachineInfo]:
    """Ask a Mux which machines it serves; the first one is the default.

    Args:
        addr: The Mux's address.
        timeout: Seconds to wait for the answer.
        transport: What carries the frames; ZeroMQ by default.

    Raises:
        NotConnected: Nobody answers there in time.
        FrameInvalid: What answers is no Mux.
    """
    answer: asyncio.Future[Listing] = asyncio.get_running_loop().create_future()
    own = ZmqTransport() if transport is None else transport

    def on_message(frame: bytes, blobs: object) -> None:
        if answer.done():
            return
        try:
            message = from_frame(frame)
        except FrameInvalid as error:
            answer.set_exception(error)
            return
        if isinstance(message, Listing):
            answer.set_result(message)

    def on_connected(connected: bool) -> None:
        if connected:
            dealer.send(to_frame(List(1)))

    try:
        dealer = own.dealer(addr, on_message, on_connected)
        try:
            async with asyncio.timeout(timeout):
                return machines_of(await answer)
        except TimeoutError:
            raise NotConnected(
                f"nobody lists machines at {addr} within {timeout:g} s; is a Mux serving there?"
            ) from None
        finally:
            dealer.close()
    finally:
        if transport is None:
            await own.close()
