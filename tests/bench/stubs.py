"""Roles for child processes that do what a test needs."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from bench.channel import Channel
from bench.fanout_roles import Plan, Publishing, follow, publish


def echo(channel: Channel, greeting: str) -> None:
    print("not a line of the channel")
    channel.send(greeting=greeting, pid=os.getpid())
    channel.send(**channel.receive())
    channel.receive()


async def echo_async(channel: Channel) -> None:
    channel.send(**await channel.receive_async())
    await channel.receive_async()


def fails(channel: Channel, **_: Any) -> None:
    raise ValueError("this role is broken")


def vanishes(channel: Channel) -> None:
    os._exit(3)


def ends_badly(channel: Channel) -> None:
    channel.receive()
    sys.exit(4)


def ignores_everything(channel: Channel) -> None:
    channel.send(ready=True)
    while True:
        time.sleep(60)


async def source(channel: Channel, fds: list[int], plan: dict[str, Any], **_: Any) -> None:
    """A source whose updates go nowhere."""

    async def send(first: int, last: int) -> None:
        pass

    channel.send(addr="nowhere")
    await channel.receive_async()
    total = Plan(**plan).total
    await publish(channel, fds, Plan(**plan), Publishing(send, send, lambda: [total]))


class Counter:
    """A follower that has got everything before it was sent."""

    def __init__(self, total: int, ends_with: int) -> None:
        self.log: list[tuple[int, int]] = []
        self._total = total
        self._ends_with = ends_with

    def count(self) -> int:
        return self._total

    def watch(self) -> None:
        self.log.append((self._total, time.monotonic_ns()))

    def state(self) -> list[int]:
        return [self._ends_with]


async def followers(
    channel: Channel,
    fd: int,
    followers: int,
    plan: dict[str, Any],
    first: int = 0,
    differ: int = 0,
    missing: int = 0,
) -> None:
    """Followers of which some end with another state, or are not there."""
    await channel.receive_async()
    total = Plan(**plan).total
    ends = [total - 1] * differ + [total] * (followers - differ - missing)
    await follow(channel, fd, Plan(**plan), [Counter(total, end) for end in ends])
