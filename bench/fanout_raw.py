"""The limit of a fan-out: one XPUB, raw SUB sockets drained from their descriptors."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import zmq

from bench.channel import PATIENCE_S, Channel
from bench.fanout_roles import Plan, Publishing, follow, publish

TOPIC = b"bench/00"
NUMBER = struct.Struct(">Q")

# Integers: `|` on pyzmq's enums costs more than receiving a message.
NOBLOCK = int(zmq.NOBLOCK)
# One turn of one socket, so that the others get theirs.
BUDGET = 256


async def source(
    channel: Channel,
    fds: list[int],
    plan: Mapping[str, Any],
    followers: int,
    size: int,
    hwm: int,
    turns: bool,
) -> None:
    """Publishes numbered frames of one size, as fast as it may.

    Args:
        channel: To the parent.
        fds: Tell of the followers' progress.
        plan: How much to do.
        followers: How many will subscribe.
        size: Bytes of a frame.
        hwm: Frames queued for one follower.
        turns: Whether the loop turns once after each frame, as our source has it.
    """
    padding, last = bytes(size - len(TOPIC) - NUMBER.size), Plan(**plan).total
    with _publisher(channel, followers, hwm) as xpub:
        hop = (await channel.receive_async()).get("hop", 0)
        transmit, pack = xpub.send, NUMBER.pack

        async def plain(first: int, last: int) -> None:
            for number in range(first + 1, last + 1):
                transmit(TOPIC + pack(number) + padding, NOBLOCK)

        async def turning(first: int, last: int) -> None:
            turn = asyncio.sleep
            for number in range(first + 1, last + 1):
                transmit(TOPIC + pack(number) + padding, NOBLOCK)
                await turn(0)

        send = turning if turns else plain
        publishing = Publishing(send, send, lambda: [last, last])
        await publish(channel, fds, Plan(**plan), publishing, hop)


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

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        addr: str,
        hwm: int,
        topic: bytes = TOPIC,
    ) -> None:
        self.received = 0
        self.last = b""
        self.log: list[tuple[int, int]] = []
        self.socket = context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, hwm)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SUBSCRIBE, topic)
        self.socket.connect(addr)
        self._watched = False
        self._recv = self.socket.recv
        self._loop = asyncio.get_running_loop()
        self._fd = int(self.socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self.drain)
        # The descriptor tells of changes; the first one may be over already.
        self._loop.call_soon(self.drain)

    def drain(self) -> None:
        if self.socket.closed:
            return
        recv, before = self._recv, self.received
        try:
            for _ in range(BUDGET):
                self.last = recv(NOBLOCK)
                self.received += 1
        except zmq.Again:
            pass
        else:
            self._loop.call_soon(self.drain)
        if self._watched and self.received != before:
            self.log.append((self.received, time.monotonic_ns()))

    def count(self) -> int:
        return self.received

    def watch(self) -> None:
        self._watched = True

    def state(self) -> list[int]:
        """How many, and the number of the last: unequal if one is lost."""
        return [self.received, NUMBER.unpack_from(self.last, len(TOPIC))[0]]

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self.socket.close()


async def followers(
    channel: Channel, fd: int, followers: int, plan: Mapping[str, Any], hwm: int, first: int = 0
) -> None:
    """Receives everything with every one of so many sockets."""
    addr = (await channel.receive_async())["addr"]
    with zmq.Context() as context:
        receivers = [Receiver(context, addr, hwm) for _ in range(followers)]
        try:
            await follow(channel, fd, Plan(**plan), receivers)
        finally:
            for receiver in receivers:
                receiver.close()
