"""Roles for child processes that do what a test needs."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from bench.channel import Channel
from bench.pace import CHUNK


def echo(channel: Channel, greeting: str) -> None:
    print("not a line of the channel")
    channel.send(greeting=greeting, pid=os.getpid())
    channel.send(**channel.receive())
    channel.receive()


async def echo_async(channel: Channel) -> None:
    channel.send(**await channel.receive_async())
    await channel.receive_async()


def fails(channel: Channel) -> None:
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


async def source(channel: Channel, fd: int, updates: int, **_: Any) -> None:
    """A source whose updates go nowhere."""
    channel.send(addr="nowhere")
    await channel.receive_async()
    for _chunk in range(updates // CHUNK):
        await asyncio.to_thread(os.read, fd, 1)
    channel.send(state=[updates], wall_s=1.0, thread_us=2.0, process_us=3.0)
    await channel.receive_async()


async def followers(
    channel: Channel, fd: int, followers: int, updates: int, differ: int = 0, missing: int = 0
) -> None:
    """Followers of which some end with another state, or are not there."""
    await channel.receive_async()
    channel.send(ready=True)
    os.write(fd, b"." * (updates // CHUNK))
    states = [[updates]] * (followers - differ - missing) + [[updates - 1]] * differ
    channel.send(states=states)
    await channel.receive_async()
