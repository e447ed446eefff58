"""Both ends of a conversation over pipes: one JSON value a line, an answer for each."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from amzmq.net import SocketOptions, ZmqTransport


def config() -> dict[str, Any]:
    """What the test wants of this program."""
    return dict(json.loads(sys.argv[1]))


def say(value: object) -> None:
    """Tells the test."""
    print(json.dumps(value), flush=True)


async def obey(commands: dict[str, Callable[..., Any]]) -> None:
    """Runs commands until the test says stop, or is gone."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            name, *args = json.loads(line)
            if name == "stop":
                return
            answer = commands[name](*args)
            say(await answer if asyncio.iscoroutine(answer) else answer)
    finally:
        pipe.close()


def transport(options: dict[str, Any]) -> ZmqTransport:
    """Sockets with the given options, quick to come back."""
    quick: dict[str, Any] = {"reconnect_ms": 10, "reconnect_max_ms": 50}
    return ZmqTransport(SocketOptions(**(quick | options)))
