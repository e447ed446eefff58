"""Clone, as in the ZeroMQ guide, chapter 5: a snapshot by ROUTER, numbered updates by PUB.

Followers subscribe first, ask for a snapshot then, and drop updates that are not newer than it. A
source says HUGZ when it has nothing else to say; who hears nothing for a while begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import zmq
import zmq.asyncio

from tests.faults.peers.follower import Follower
from tests.faults.peers.source import Source
from tests.faults.programs.shared import Diary

HUGZ_S, TTL_S = 0.2, 1.0
"""The guide has 1 and 5; the lab's own programs are as quick as this."""

NUMBER = struct.Struct(">Q")
EVENT, HUGZ, ASK, END = b"!", b"HUGZ", b"ICANHAZ?", b"KTHXBAI"


def _options(socket: zmq.asyncio.Socket, sockets: dict[str, int]) -> None:
    socket.linger = 0
    socket.setsockopt(zmq.RECONNECT_IVL, 10)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 100)
    names = {
        "send_hwm": zmq.SNDHWM,
        "receive_hwm": zmq.RCVHWM,
        "send_buffer_bytes": zmq.SNDBUF,
    }
    for name, value in sockets.items():
        socket.setsockopt(names[name], value)


class CloneSource(Source):
    """The server of the guide; its state is its own and ends with it."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._context = zmq.asyncio.Context()
        self._pub = self._context.socket(zmq.PUB)
        self._router = self._context.socket(zmq.ROUTER)
        self._sequence = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> dict[str, str]:
        for socket in (self._pub, self._router):
            _options(socket, self.options["sockets"])
        self._router.bind(self.options["bind"])
        self._pub.bind(self.options["feed"])
        self._tasks = [asyncio.create_task(self._answer()), asyncio.create_task(self._hug())]
        return {
            "addr": self._router.getsockopt_string(zmq.LAST_ENDPOINT),
            "feed": self._pub.getsockopt_string(zmq.LAST_ENDPOINT),
        }

    async def _answer(self) -> None:
        while True:
            peer, _ = await self._router.recv_multipart()
            sequence, state = self._sequence, dict(self.state)
            for key, tick in state.items():
                await self._router.send_multipart([peer, key.encode(), NUMBER.pack(tick)])
            await self._router.send_multipart([peer, END, NUMBER.pack(sequence)])

    async def _hug(self) -> None:
        while True:
            await asyncio.sleep(HUGZ_S)
            await self._pub.send_multipart([HUGZ, NUMBER.pack(0), b""])

    async def change(self, key: str, tick: int) -> None:
        await self._send(key.encode(), NUMBER.pack(tick))

    async def event(self, token: str, data: bytes) -> None:
        await self._send(EVENT + token.encode(), data)

    async def _send(self, key: bytes, value: bytes) -> None:
        self._sequence += 1
        await self._pub.send_multipart([key, NUMBER.pack(self._sequence), value])

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._context.destroy(linger=0)


class Silent(Exception):
    """Nothing was heard for too long."""


class CloneFollower(Follower):
    """The client of the guide, with one server."""

    def __init__(self, name: str, options: dict[str, Any], diary: Diary) -> None:
        super().__init__(name, options, diary)
        self._context = zmq.asyncio.Context()
        self._sequence = 0

    async def follow(self) -> None:
        try:
            while True:
                with contextlib.suppress(Silent):
                    async with self._sockets() as (sub, dealer):
                        await self._fetch(dealer)
                        await self._listen(sub)
        finally:
            self._context.destroy(linger=0)

    @contextlib.asynccontextmanager
    async def _sockets(self) -> AsyncIterator[tuple[zmq.asyncio.Socket, zmq.asyncio.Socket]]:
        sub, dealer = self._context.socket(zmq.SUB), self._context.socket(zmq.DEALER)
        with sub, dealer:
            for socket in (sub, dealer):
                _options(socket, self.options["sockets"])
            sub.subscribe(b"")
            sub.connect(self.options["feed"])
            dealer.connect(self.options["addr"])
            yield sub, dealer

    async def _fetch(self, dealer: zmq.asyncio.Socket) -> None:
        await dealer.send(ASK)
        state: dict[str, int] = {}
        while True:
            key, value = await _hear(dealer)
            if key == END:
                break
            state[key.decode()] = NUMBER.unpack(value)[0]
        self._sequence = NUMBER.unpack(value)[0]
        self.show_all(state)

    async def _listen(self, sub: zmq.asyncio.Socket) -> None:
        while True:
            key, number, value = await _hear(sub)
            (sequence,) = NUMBER.unpack(number)
            if key == HUGZ or sequence <= self._sequence:
                continue
            self._sequence = sequence
            if key.startswith(EVENT):
                self.take(key[1:].decode())
            else:
                self.show(key.decode(), NUMBER.unpack(value)[0])


async def _hear(socket: zmq.asyncio.Socket) -> list[bytes]:
    if not await socket.poll(int(TTL_S * 1000)):
        raise Silent
    return await socket.recv_multipart()
