"""One follower: a process that follows the source live and says at the end what it has.

It announces itself by adding FollowerReady at the source, then only listens. The end of its
standard input means: report and exit. That also happens when the source's process dies, so no
follower outlives it. The report is one line of JSON on standard output, see `verdict.Report`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from amzmq.cli.demo.tally import Latencies, Tally
from amzmq.cli.waits import first_of
from amzmq.errors import AmzmqError
from amzmq.rpc.client.client import Client
from amzmq.rpc.payload import Payload

STDIN, STDOUT = 0, 1


class Listener:
    """Takes the payloads.

    Attributes:
        tally: Of all that came.
        latencies: From publishing to here; the processes of one host share the monotonic clock.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self.latencies = Latencies()

    def take(self, payload: Payload) -> None:
        """One payload."""
        self.latencies.take(time.monotonic_ns() - payload.data["at"])
        self.tally.take(payload.token, payload.data["digest"])


async def follow(addr: str, name: str) -> dict[str, object] | None:
    """Follow the source until standard input ends.

    Returns:
        The report; None when the end came before the follower could announce itself.
    """
    listener = Listener()
    # The source is there before we are, so it has to answer soon, or is gone.
    client = Client(addr, name, conn_timeout=5.0, conn_retries=3)
    client.on_payload(listener.take)
    client.start()
    ended = _input_ended()
    try:
        await first_of(_announce(client), ended.wait())
        if ended.is_set():
            return None
        await ended.wait()  # not longer than the source's process lives
        return {
            "name": name,
            "clock": list(client.net_mach.time()),
            "payloads": listener.tally.count,
            "digest": listener.tally.hexdigest(),
            "latency": sorted(listener.latencies.buckets.items()),
            "metrics": client.metrics(),
        }
    finally:
        await client.stop()


async def _announce(client: Client) -> None:
    await client.ready()
    await client.net_mach.add("FollowerReady")


def _input_ended() -> asyncio.Event:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def look() -> None:
        if not os.read(STDIN, 4096):
            loop.remove_reader(STDIN)
            ended.set()

    loop.add_reader(STDIN, look)
    return ended


def main(addr: str, name: str) -> None:
    """Follow, then print the report; exit status 1 and one line on an error."""
    try:
        report = asyncio.run(follow(addr, name))
    except AmzmqError as error:
        sys.exit(f"follower {name}: {error}")
    if report is None:
        return
    try:
        with open(STDOUT, "wb", closefd=False) as output:
            output.write(json.dumps(report).encode() + b"\n")
    except BrokenPipeError:
        pass  # the source's process is gone: nobody wants to know


if __name__ == "__main__":
    main(*sys.argv[1:])
