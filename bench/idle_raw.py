"""The limit of a connected client at rest: a DEALER and a SUB each, and nothing else.

It beats no heart, so what it costs is libzmq's connections alone.
"""

from __future__ import annotations

import asyncio

import zmq

from bench.channel import Channel
from bench.idle_amzmq import measure, resident_kib
from bench.rtt_asyncio import Drained


async def source(channel: Channel, window_s: float) -> None:
    """A ROUTER that answers, and an XPUB."""
    with zmq.Context() as context:
        router, publisher = context.socket(zmq.ROUTER), context.socket(zmq.XPUB)
        ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (router, publisher)]
        answering = Drained(router, lambda frames: answering.send(*frames))
        subscribed = Drained(publisher, lambda frames: None)
        try:
            channel.send(addrs=[f"tcp://127.0.0.1:{port}" for port in ports])
            await channel.receive_async()
            channel.send(memory_kib=resident_kib())
            await measure(channel, window_s)
            await channel.receive_async()
        finally:
            answering.close()
            subscribed.close()


async def followers(channel: Channel, followers: int, window_s: float) -> None:
    """So many pairs of sockets, connected one after the other."""
    router, publisher = (await channel.receive_async())["addrs"]
    loop = asyncio.get_running_loop()
    sockets: list[Drained] = []
    with zmq.Context() as context:
        context.setsockopt(zmq.MAX_SOCKETS, 2 * followers + 2)

        async def connect() -> None:
            answered = loop.create_future()
            dealer, sub = context.socket(zmq.DEALER), context.socket(zmq.SUB)
            dealer.connect(router)
            sub.connect(publisher)
            sub.subscribe(b"")
            sockets.extend(
                (
                    Drained(dealer, lambda frames: answered.set_result(None)),
                    Drained(sub, lambda frames: None),
                )
            )
            sockets[-2].send(b"hello")
            await answered

        try:
            await connect()
            channel.send(ready=True)
            await channel.receive_async()
            channel.send(memory_kib=resident_kib())
            await channel.receive_async()
            for _ in range(followers - 1):
                await connect()
            channel.send(ready=True)
            await measure(channel, window_s)
            await channel.receive_async()
        finally:
            for socket in sockets:
                socket.close()
