"""The limit of a fan-out: one XPUB, raw SUB sockets drained from their descriptors."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from bench.channel import PATIENCE_S, Channel
from bench.pace import CHUNK, Gate, Stopwatch, tell_progress

TOPIC = b"bench/00"
NUMBER = struct.Struct(">Q")

# Integers: `|` on pyzmq's enums costs more than receiving a message.
NOBLOCK = int(zmq.NOBLOCK)
# One turn of one socket, so that the others get theirs.
BUDGET = 256


def source(channel: Channel, fd: int, followers: int, updates: int, size: int, hwm: int) -> None:
    """Publishes numbered frames of one size, as fast as it may."""
    padding = bytes(size - len(TOPIC) - NUMBER.size)
    with _publisher(channel, followers, hwm) as xpub:
        channel.receive()
        send, pack, gate, watch = xpub.send, NUMBER.pack, Gate(fd), Stopwatch()
        for number in range(1, updates + 1):
            send(TOPIC + pack(number) + padding, NOBLOCK)
            if not number % CHUNK:
                gate.open(number)
        gate.open(updates, window=1)
        channel.send(**watch.per_update(updates), state=[updates, updates])
        channel.receive()


async def source_asyncio(
    channel: Channel, fd: int, followers: int, updates: int, size: int, hwm: int
) -> None:
    """The same with a turn of the event loop after each frame, as our source has it."""
    padding = bytes(size - len(TOPIC) - NUMBER.size)
    with _publisher(channel, followers, hwm) as xpub:
        await channel.receive_async()
        send, pack, gate, turn, watch = xpub.send, NUMBER.pack, Gate(fd), asyncio.sleep, Stopwatch()
        for number in range(1, updates + 1):
            send(TOPIC + pack(number) + padding, NOBLOCK)
            await turn(0)
            if not number % CHUNK:
                await gate.open_async(number)
        await gate.open_async(updates, window=1)
        channel.send(**watch.per_update(updates), state=[updates, updates])
        await channel.receive_async()


@contextmanager
def _publisher(channel: Channel, followers: int, hwm: int) -> Iterator[zmq.Socket[bytes]]:
    """A bound XPUB that all followers have subscribed to."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as xpub:
        xpub.setsockopt(zmq.SNDHWM, hwm)
        xpub.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
        xpub.setsockopt(zmq.LINGER, 1000)
        # Else equal subscriptions would be told once, and nobody could count them.
        xpub.setsockopt(zmq.XPUB_VERBOSE, 1)
        channel.send(addr=f"tcp://127.0.0.1:{xpub.bind_to_random_port('tcp://127.0.0.1')}")
        for _ in range(followers):
            xpub.recv()
        yield xpub


class Receiver:
    """One SUB socket on the event loop."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], addr: str, hwm: int) -> None:
        self.received = 0
        self.last = b""
        self.socket = context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, hwm)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SUBSCRIBE, TOPIC)
        self.socket.connect(addr)
        self._recv = self.socket.recv
        self._loop = asyncio.get_running_loop()
        self._fd = int(self.socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self.drain)
        # The descriptor tells of changes; the first one may be over already.
        self._loop.call_soon(self.drain)

    def drain(self) -> None:
        recv = self._recv
        try:
            for _ in range(BUDGET):
                self.last = recv(NOBLOCK)
                self.received += 1
        except zmq.Again:
            return
        self._loop.call_soon(self.drain)

    def state(self) -> list[int]:
        """How many, and the number of the last: unequal if one is lost."""
        return [self.received, NUMBER.unpack_from(self.last, len(TOPIC))[0]]

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self.socket.close()


async def followers(channel: Channel, fd: int, followers: int, updates: int, hwm: int) -> None:
    """Receives everything with every one of so many sockets."""
    addr = (await channel.receive_async())["addr"]
    with zmq.Context() as context:
        receivers = [Receiver(context, addr, hwm) for _ in range(followers)]
        try:
            channel.send(ready=True)
            await tell_progress(fd, lambda at: receivers[at].received, followers, updates)
            channel.send(states=[receiver.state() for receiver in receivers])
            await channel.receive_async()
        finally:
            for receiver in receivers:
                receiver.close()
