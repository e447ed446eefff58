"""The limit of a call on asyncio: raw pyzmq again, both ends drained by an event loop.

Beside the blocking limit it tells what asyncio costs a call, whatever runs on it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import zmq

from bench.channel import Channel
from bench.latency import RateWatch, in_flight, report_latencies

NOBLOCK = int(zmq.NOBLOCK)
EVENTS, POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)


class Drained:
    """A socket that hands each message to a callback."""

    def __init__(
        self, socket: zmq.Socket[bytes], on_message: Callable[[list[bytes]], None]
    ) -> None:
        self._socket = socket
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._fd = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._drain)

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames, NOBLOCK)
        # Sending can swallow the edge that tells of a message.
        self._loop.call_soon(self._drain)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self._socket.close(linger=1000)

    def _drain(self) -> None:
        while not self._socket.closed and int(self._socket.getsockopt(EVENTS)) & POLLIN:
            self._on_message(self._socket.recv_multipart(NOBLOCK))


async def source(channel: Channel, reply_bytes: int) -> None:
    """Answers every request until told to stop."""
    reply, echoed = bytes(reply_bytes), 0

    def echo(frames: list[bytes]) -> None:
        nonlocal echoed
        echoed += 1
        router.send(frames[0], reply)

    with zmq.Context() as context:
        socket = context.socket(zmq.ROUTER)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        router = Drained(socket, echo)
        try:
            channel.send(addr=f"tcp://127.0.0.1:{port}")
            await channel.receive_async()
            channel.send(state=[echoed])
            await channel.receive_async()
        finally:
            router.close()


async def client(channel: Channel, calls: int, warm_up: int, request_bytes: int) -> None:
    """Asks one after the other, and awaits a future each."""
    request, latencies = bytes(request_bytes), []
    loop, now = asyncio.get_running_loop(), time.perf_counter_ns
    waiting: asyncio.Future[None] = loop.create_future()
    with zmq.Context() as context:
        socket = context.socket(zmq.DEALER)
        socket.connect((await channel.receive_async())["addr"])
        dealer = Drained(socket, lambda _frames: waiting.set_result(None))
        try:
            for _ in range(warm_up + calls):
                start = now()
                waiting = loop.create_future()
                dealer.send(request)
                await waiting
                latencies.append(now() - start)
            report_latencies(channel, latencies[warm_up:], states=[[warm_up + calls]])
            await channel.receive_async()
        finally:
            dealer.close()


async def pipelined(
    channel: Channel, calls: int, warm_up: int, request_bytes: int, window: int
) -> None:
    """Keeps so many requests in flight, and awaits a future each."""
    request, loop = bytes(request_bytes), asyncio.get_running_loop()
    waiting: deque[asyncio.Future[None]] = deque()

    def ask() -> asyncio.Future[None]:
        waiting.append(loop.create_future())
        dealer.send(request)
        return waiting[-1]

    with zmq.Context() as context:
        socket = context.socket(zmq.DEALER)
        socket.connect((await channel.receive_async())["addr"])
        dealer = Drained(socket, lambda _frames: waiting.popleft().set_result(None))
        try:
            await in_flight(ask, warm_up, window)
            watch = RateWatch()
            await in_flight(ask, calls, window)
            watch.report(channel, calls, states=[[warm_up + calls]])
            await channel.receive_async()
        finally:
            dealer.close()
