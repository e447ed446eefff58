"""The peers of a fan-out: Redis pub/sub, NATS and gRPC streaming, each in its fastest plain way.

Their messages have as many bytes as our updates. Each follower has a connection of its own, as
programs that do not know of each other have.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bench.channel import PATIENCE_S, Channel
from bench.fanout_roles import Plan, Publishing, follow, publish

TOPIC = "bench"
NUMBER = struct.Struct(">Q")


class Inbox:
    """What one follower got."""

    def __init__(self) -> None:
        self.received = 0
        self.last = b""
        self.log: list[tuple[int, int]] = []
        self._watched = False

    def take(self, data: bytes) -> None:
        self.received += 1
        self.last = data
        if self._watched:
            self.log.append((self.received, time.monotonic_ns()))

    def count(self) -> int:
        return self.received

    def watch(self) -> None:
        self._watched = True

    def state(self) -> list[int]:
        """How many, and the number of the last: unequal if one is lost."""
        return [self.received, NUMBER.unpack_from(self.last)[0]]


async def redis_source(channel: Channel, fds: list[int], size: int, **params: Any) -> None:
    """Publishes by pipelines: a command and its answer each would be ten times as slow."""
    from redis.asyncio import Redis

    async with Redis.from_url(params["broker"]) as client:

        async def send(first: int, last: int) -> None:
            pipeline = client.pipeline(transaction=False)
            for number in range(first + 1, last + 1):
                pipeline.publish(TOPIC, _message(number, size))
            await pipeline.execute()

        await _publish(channel, fds, send, **params)


async def redis_followers(channel: Channel, fd: int, followers: int, **params: Any) -> None:
    """Listens with so many connections."""
    from redis.asyncio import Redis

    async def listen(inbox: Inbox, ready: asyncio.Event) -> None:
        async with Redis.from_url(params["broker"]) as client, client.pubsub() as pubsub:
            await pubsub.subscribe(TOPIC)
            async for message in pubsub.listen():
                if message["type"] == "message":
                    inbox.take(message["data"])
                else:
                    ready.set()

    await channel.receive_async()
    async with _listening(listen, followers) as inboxes:
        await follow(channel, fd, Plan(**params["plan"]), inboxes)


async def nats_source(channel: Channel, fds: list[int], size: int, **params: Any) -> None:
    """Publishes one message behind the other; the client sends them together."""
    import nats

    client = await nats.connect(params["broker"])
    try:

        async def send(first: int, last: int) -> None:
            for number in range(first + 1, last + 1):
                await client.publish(TOPIC, _message(number, size))

        await _publish(channel, fds, send, **params)
    finally:
        await client.close()


async def nats_followers(channel: Channel, fd: int, followers: int, **params: Any) -> None:
    """Subscribes with so many connections."""
    import nats
    from nats.aio.msg import Msg

    await channel.receive_async()
    inboxes = [Inbox() for _ in range(followers)]
    async with AsyncExitStack() as stack:
        for inbox in inboxes:

            async def take(message: Msg, inbox: Inbox = inbox) -> None:
                inbox.take(message.data)

            client = await nats.connect(params["broker"])
            stack.push_async_callback(client.close)
            await client.subscribe(TOPIC, cb=take)
            await client.flush()
        await follow(channel, fd, Plan(**params["plan"]), inboxes)


async def grpc_source(channel: Channel, fds: list[int], size: int, **params: Any) -> None:
    """A server that streams to all who follow."""
    from bench.grpc_server import serving, streaming

    queues: set[asyncio.Queue[bytes]] = set()

    async def stream(_request: bytes, _context: object) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        queues.add(queue)
        yield b""
        while True:
            yield await queue.get()

    async def send(first: int, last: int) -> None:
        for number in range(first + 1, last + 1):
            message = _message(number, size)
            for queue in queues:
                queue.put_nowait(message)
            # Else the streams would not begin before all is queued.
            await asyncio.sleep(0)

    async with serving(streaming("Follow", stream)) as addr:
        await _publish(channel, fds, send, addr=addr, **params)


async def grpc_followers(channel: Channel, fd: int, followers: int, **params: Any) -> None:
    """Follows with so many streams, each on a channel of its own."""
    from bench.grpc_server import dialed, method

    addr = (await channel.receive_async())["addr"]

    async def listen(inbox: Inbox, ready: asyncio.Event) -> None:
        async with dialed(addr) as remote:
            async for message in remote.unary_stream(method("Follow"))(b""):
                if ready.is_set():
                    inbox.take(message)
                ready.set()

    async with _listening(listen, followers) as inboxes:
        await follow(channel, fd, Plan(**params["plan"]), inboxes)


async def _publish(
    channel: Channel,
    fds: list[int],
    send: Callable[[int, int], Awaitable[None]],
    plan: Mapping[str, Any],
    addr: str = "",
    broker_pid: int = 0,
    **_: Any,
) -> None:
    last = Plan(**plan).total
    channel.send(addr=addr)
    await channel.receive_async()
    publishing = Publishing(send, send, lambda: [last, last])
    await publish(channel, fds, Plan(**plan), publishing, broker_pid)


@asynccontextmanager
async def _listening(
    listen: Callable[[Inbox, asyncio.Event], Awaitable[None]], followers: int
) -> AsyncIterator[list[Inbox]]:
    """So many listeners, each a task, all of them connected."""
    inboxes, ready = [Inbox() for _ in range(followers)], []
    async with asyncio.TaskGroup() as group:
        tasks = []
        for inbox in inboxes:
            ready.append(asyncio.Event())
            tasks.append(group.create_task(_listen(listen, inbox, ready[-1])))
        async with asyncio.timeout(PATIENCE_S):
            for event in ready:
                await event.wait()
        yield inboxes
        for task in tasks:
            task.cancel()


async def _listen(
    listen: Callable[[Inbox, asyncio.Event], Awaitable[None]], inbox: Inbox, ready: asyncio.Event
) -> None:
    await listen(inbox, ready)


def _message(number: int, size: int) -> bytes:
    return NUMBER.pack(number).ljust(size, b".")
