"""NATS JetStream: a key-value bucket holds the state and is watched; a stream has the events."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import nats
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import DeliverPolicy
from nats.js.errors import NoKeysError
from nats.js.kv import KeyValue

from tests.faults.peers.follower import Follower
from tests.faults.peers.source import Source

BUCKET, STREAM, SUBJECT = "state", "EVENTS", "events"
TOKEN = "Token"
AGAIN_S = 0.05


async def _connect(addr: str) -> Nats:
    async def ignore(error: Exception) -> None:
        """The client tries again by itself."""

    return await nats.connect(
        addr.replace("tcp://", "nats://"),
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
        ping_interval=1,
        max_outstanding_pings=1,
        connect_timeout=1,
        error_cb=ignore,
    )


class NatsSource(Source):
    """Writes to a bucket and a stream; what it has written outlives it."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._nats: Nats
        self._kv: KeyValue

    async def open(self) -> dict[str, str]:
        self._nats = await _connect(self.options["broker"])
        self._js = self._nats.jetstream(timeout=1)
        # Both are left as they are if they are there already.
        self._kv = await self._js.create_key_value(bucket=BUCKET)
        await self._js.add_stream(name=STREAM, subjects=[SUBJECT])
        with contextlib.suppress(NoKeysError):
            entries = [await self._kv.get(key) for key in await self._kv.keys()]
            self.state = {entry.key: int(entry.value or b"0") for entry in entries}
        return {"addr": self.options["broker"], "feed": self.options["broker"]}

    async def change(self, key: str, tick: int) -> None:
        while True:
            try:
                await self._kv.put(key, str(tick).encode())
                return
            except (NatsError, OSError, TimeoutError):
                await asyncio.sleep(AGAIN_S)  # it may have been done: twice is no harm

    async def event(self, token: str, data: bytes) -> None:
        # The id lets the server drop what a retry says twice.
        headers = {TOKEN: token, "Nats-Msg-Id": token}
        while True:
            try:
                await self._js.publish(SUBJECT, data, headers=headers)
                return
            except (NatsError, OSError, TimeoutError):
                await asyncio.sleep(AGAIN_S)

    async def close(self) -> None:
        await self._nats.close()


class NatsFollower(Follower):
    """Watches the bucket, and consumes the stream in order."""

    async def follow(self) -> None:
        client = await _connect(self.options["addr"])
        try:
            js = client.jetstream(timeout=1)
            watcher = await (await js.key_value(BUCKET)).watchall()
            await js.subscribe(
                SUBJECT,
                cb=self._take_one,
                ordered_consumer=True,
                deliver_policy=DeliverPolicy.NEW,
            )
            state: dict[str, int] = {}
            async for entry in watcher:
                if entry is None:  # what there was is complete
                    self.show_all(state)
                elif self.ready.is_set():
                    self.show(entry.key, int(entry.value or b"0"))
                else:
                    state[entry.key] = int(entry.value or b"0")
        finally:
            await client.close()

    async def _take_one(self, message: Msg) -> None:
        self.take((message.headers or {})[TOKEN])
