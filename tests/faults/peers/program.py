"""The source, or the followers, of a peer, as a process of the lab."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.faults.peers.follower import Followers
from tests.faults.peers.source import Source
from tests.faults.programs import shared
from tests.rpc.programs.pipe import config, obey, say

SOURCE = ("start_load", "stop_load", "burst", "block", "status", "rest")
FOLLOWERS = ("block", "status", "rest")


def _source(system: str, options: dict[str, Any]) -> Source:
    # A system's packages may be missing where another one is tried.
    if system == "clone":
        from tests.faults.peers.of_clone import CloneSource

        return CloneSource(options)
    if system == "redis":
        from tests.faults.peers.of_redis import RedisSource

        return RedisSource(options)
    from tests.faults.peers.of_nats import NatsSource

    return NatsSource(options)


def _followers(system: str, options: dict[str, Any]) -> Followers:
    if system == "clone":
        from tests.faults.peers.of_clone import CloneFollower

        return Followers(CloneFollower, options)
    if system == "redis":
        from tests.faults.peers.of_redis import RedisFollower

        return Followers(RedisFollower, options)
    from tests.faults.peers.of_nats import NatsFollower

    return Followers(NatsFollower, options)


async def main() -> None:
    fds = shared.descriptors()
    options = config()
    is_source = options["role"] == "source"
    make = _source if is_source else _followers
    part = make(options["system"], options)
    say(await part.start())
    names = SOURCE if is_source else FOLLOWERS
    await obey({name: getattr(part, name) for name in names})
    await part.stop()
    say(await shared.leftovers(fds))


if __name__ == "__main__":
    asyncio.run(main())
