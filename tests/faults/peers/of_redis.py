"""Redis: a hash holds the state, pub/sub tells of changes.

A change and its announcement are one transaction. Followers subscribe first, read the hash then,
and drop changes that it holds already; who loses the connection does so again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from tests.faults.peers.follower import Follower
from tests.faults.peers.source import Source

STATE, VERSION = "state", "version"
CHANGES, EVENTS = "changes", "events"
TIMEOUT_S = 1.0
AGAIN_S = 0.05


def _connect(addr: str) -> Redis:
    return Redis.from_url(
        addr.replace("tcp://", "redis://"),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        decode_responses=True,
    )


class RedisSource(Source):
    """Writes to Redis; what it has written outlives it."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._redis = _connect(options["broker"])
        self._version = 0

    async def open(self) -> dict[str, str]:
        held = await self._redis.hgetall(STATE)
        self._version = int(held.pop(VERSION, 0))
        self.state = {str(key): int(tick) for key, tick in held.items()}
        return {"addr": self.options["broker"], "feed": self.options["broker"]}

    async def change(self, key: str, tick: int) -> None:
        self._version += 1
        said = json.dumps([self._version, key, tick])
        await self._write({key: tick, VERSION: self._version}, CHANGES, said)

    async def event(self, token: str, data: bytes) -> None:
        await self._write({}, EVENTS, json.dumps([token, data.decode()]))

    async def _write(self, fields: dict[str, int], channel: str, said: str) -> None:
        while True:
            try:
                async with self._redis.pipeline(transaction=True) as pipe:
                    for field, value in fields.items():
                        pipe.hset(STATE, field, str(value))
                    pipe.publish(channel, said)
                    await pipe.execute()
                    return
            except (RedisError, OSError):
                await asyncio.sleep(AGAIN_S)  # it may have been done: twice is no harm

    async def close(self) -> None:
        await self._redis.aclose()


class RedisFollower(Follower):
    """Subscribes, reads, and goes on from there."""

    async def follow(self) -> None:
        while True:
            async with _connect(self.options["addr"]) as redis, redis.pubsub() as pubsub:
                with contextlib.suppress(RedisError, OSError):
                    await self._follow(redis, pubsub)
            await asyncio.sleep(AGAIN_S)

    async def _follow(self, redis: Redis, pubsub: PubSub) -> None:
        await pubsub.subscribe(CHANGES, EVENTS)
        for _ in (CHANGES, EVENTS):
            await pubsub.get_message(timeout=TIMEOUT_S)
        held = await redis.hgetall(STATE)
        version = int(held.pop(VERSION, 0))
        self.show_all({str(key): int(tick) for key, tick in held.items()})
        while True:
            message = await pubsub.get_message(timeout=TIMEOUT_S)
            if message is None:
                # Nothing was said: is anybody there?
                await pubsub.ping()
                continue
            if message["type"] != "message":
                continue
            said = json.loads(message["data"])
            if message["channel"] == EVENTS:
                self.take(said[0])
            elif said[0] > version:
                version = said[0]
                self.show(said[1], said[2])
