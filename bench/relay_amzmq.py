"""A chain with our relays: a source whose frames are made beforehand, and what is at its end.

The source sends as fast as a raw socket does, so that the relay is what limits the chain; its
frames are nevertheless those of a Mux, numbered and kept in its journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zmq

from amzmq import Client, Mux
from amzmq.net import Publisher, ZmqTransport
from amzmq.net.transport import ConfirmFn, FrameFn, TopicFn
from amzmq.rpc import Relay
from amzmq.wire.feed import STREAM_ID_SIZE, parse_body
from bench.channel import Channel
from bench.fanout_amzmq import state_of
from bench.fanout_raw import Receiver
from bench.fanout_roles import Plan, Publishing, follow, publish
from bench.pace import reached
from bench.report import BenchError
from bench.scenario import small_machine

# Beats are neither measured nor counted.
QUIET_S = 600.0


class HoldingPublisher:
    """Keeps frames instead of sending them, while `kept` is a list."""

    def __init__(self, inner: Publisher) -> None:
        self.inner = inner
        self.kept: list[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return self.inner.endpoint

    @property
    def asker(self) -> str:
        return self.inner.asker

    def send(self, frame: bytes) -> None:
        if self.kept is None:
            self.inner.send(frame)
        else:
            self.kept.append(frame)

    def send_all(self, frames: Sequence[bytes]) -> None:
        if self.kept is None:
            self.inner.send_all(frames)
        else:
            self.kept.extend(frames)

    async def let_go(self) -> None:
        await self.inner.let_go()

    def close(self) -> None:
        self.inner.close()


class HoldingTransport:
    """ZeroMQ, with a publisher that can hold."""

    def __init__(self) -> None:
        self._inner = ZmqTransport()
        self.router, self.dealer = self._inner.router, self._inner.dealer
        self.subscriber, self.end_user = self._inner.subscriber, self._inner.end_user
        self.close = self._inner.close
        self.max_frame_bytes = self._inner.max_frame_bytes

    def publisher(
        self,
        endpoint: str,
        on_subscribe: ConfirmFn,
        on_unsubscribe: TopicFn,
        on_garbage: FrameFn,
    ) -> HoldingPublisher:
        inner = self._inner.publisher(endpoint, on_subscribe, on_unsubscribe, on_garbage)
        self.held = HoldingPublisher(inner)
        return self.held


async def source(
    channel: Channel, fds: list[int], plan: Mapping[str, Any], end: str, views: int = 0
) -> None:
    """Adds and removes C, all of it beforehand.

    Args:
        channel: To the parent.
        fds: Tell of the follower's progress.
        plan: How much to do.
        end: What the follower counts: "frames" or "states".
        views: As of `fanout_amzmq.source`.
    """
    machine, transport, total = small_machine(), HoldingTransport(), Plan(**plan).total
    async with Mux(
        machine, bind="tcp://127.0.0.1:0", heartbeat=QUIET_S, transport=transport
    ) as mux:
        async with Client(mux.addr, name="asks-for-the-stream") as client:
            topic = client.follower.stream_id
        channel.send(addr=mux.addr, feed=mux.feed_addr, topic=topic.hex())
        hop = (await channel.receive_async())["hop"]
        before = machine.tick("C")
        frames = _frames(mux, transport.held, total)
        # Without a relay a view is a stream of its own, and nobody follows that of everything.
        whole = hop or not views
        frames = [frame for frame in frames if frame.startswith(topic) == bool(whole)]
        if len(frames) != total:
            raise BenchError(f"{total} mutations were published as {len(frames)} updates")
        transmit = transport.held.inner.send

        async def send(first: int, last: int) -> None:
            for frame in frames[first:last]:
                transmit(frame)

        def state() -> list[int]:
            if end == "frames":
                return [total, _number(frames[-1])]
            return state_of(machine, before, views)

        await publish(channel, fds, Plan(**plan), Publishing(send, send, state), hop)


def _frames(mux: Mux, held: HoldingPublisher, count: int) -> list[bytes]:
    """What so many updates are for all streams; the journals have them, nobody was sent them."""
    machine = mux.source
    frames = held.kept = []
    for number in range(count):
        (machine.remove if number & 1 else machine.add)("C")
        mux.flush()
    held.kept = None
    return frames


async def hop(channel: Channel, name: str) -> None:
    """A relay of what the parent tells it."""
    told = await channel.receive_async()
    async with Relay(told["addr"], bind="tcp://127.0.0.1:0", name=name, heartbeat=QUIET_S) as relay:
        channel.send(addr=relay.addr, feed=relay.feed_addr, topic=told["topic"])
        await channel.receive_async()
        found = relay.metrics()
    if found["upstream_gaps"]:
        raise BenchError(f"updates were lost on the way to {name}: {found}")


class FrameReceiver(Receiver):
    """One raw SUB that is given one of our streams, and counts."""

    async def connected(self) -> None:
        """Wait for the beat that greets who subscribes, and count from there."""
        await reached(lambda _: self.received, 1, 1)
        self.received = 0

    def state(self) -> list[int]:
        return [self.received, _number(self.last)]


def _number(frame: bytes) -> int:
    return parse_body(frame[STREAM_ID_SIZE:]).number


async def receivers(
    channel: Channel, fd: int, followers: int, plan: Mapping[str, Any], hwm: int
) -> None:
    """Receives the frames of the last relay with so many sockets, and looks at none."""
    told = await channel.receive_async()
    with zmq.Context() as context:
        topic = bytes.fromhex(told["topic"])
        ends = [FrameReceiver(context, told["feed"], hwm, topic) for _ in range(followers)]
        try:
            for end in ends:
                await end.connected()
            await follow(channel, fd, Plan(**plan), ends)
        finally:
            for end in ends:
                end.close()
