"""The demo from beginning to end: the source's process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from amzmq.cli.demo.files import FileRead
from amzmq.cli.demo.pace import HEARTBEAT, Pace
from amzmq.cli.demo.processes import Followers
from amzmq.cli.demo.states import WalkStates, ticks_of, times_added
from amzmq.cli.demo.tally import Tally
from amzmq.cli.demo.verdict import Published, Verdict, judge
from amzmq.cli.demo.walk import Walk
from amzmq.cli.waits import first_of
from amzmq.machine import Event, Machine
from amzmq.rpc.server.mux import Mux

READY_TIMEOUT = 60.0
"""Seconds for all followers to start and announce themselves."""

LEVEL_TIMEOUT = 15.0
"""Seconds for them to get level after the last file."""

REPORT_TIMEOUT = 10.0
"""Seconds for them to report and exit."""

HANDLER_TIMEOUT = 5.0
"""Seconds for a handler: a busy host takes the processor away for longer than the default."""


@dataclass(frozen=True)
class Options:
    """What to do.

    Attributes:
        subscribers: How many followers.
        seconds: How long to walk, in rounds; None for one round, however long it takes.
        path: The directory.
        skip: Names of folders that are left out.
    """

    subscribers: int
    seconds: float | None
    path: Path
    skip: Collection[str] = ()


class Screen(Protocol):
    """Where the progress is shown."""

    def watching(self, machine: Machine, walk: Walk, pace: Pace) -> AbstractContextManager[object]:
        """Show it inside of a ``with`` block."""


class Quiet:
    """Shows nothing."""

    def watching(self, machine: Machine, walk: Walk, pace: Pace) -> nullcontext[None]:
        """Show nothing."""
        return nullcontext()


class _Publisher:
    """Sends a payload for each file, and keeps the source's tally."""

    def __init__(self, mux: Mux) -> None:
        self.tally = Tally()
        self._mux = mux

    def publish(self, file: FileRead, event: Event) -> None:
        data = {
            "path": file.path,
            "size": file.size,
            "digest": file.digest,
            "at": time.monotonic_ns(),
        }
        receipt = self._mux.send_payload("file", data, event=event)
        self.tally.take(receipt.token, file.digest)


async def run(options: Options, screen: Screen) -> Verdict:
    """Serve the machine, start the followers, walk, compare.

    Args:
        options: What to do.
        screen: Where the progress is shown.
    """
    machine = Machine(WalkStates, id="walk", handler_timeout=HANDLER_TIMEOUT)
    machine.add("Start")
    try:
        async with (
            Mux(machine, heartbeat=HEARTBEAT) as mux,
            Followers(mux.addr, options.subscribers) as followers,
        ):
            pace = Pace(mux, followers)
            publisher = _Publisher(mux)
            once = options.seconds is None
            walk = Walk(options.path, options.skip, once, publisher.publish, pace)
            machine.bind(walk, id="walk")
            with screen.watching(machine, walk, pace):
                trouble, seconds = await _walk(options, machine, followers, pace)
                if walk.failure is not None:
                    trouble.append(f"the source failed: {walk.failure!r}")
                published = Published(
                    tuple(machine.time()),
                    publisher.tally.count,
                    publisher.tally.hexdigest(),
                    times_added(machine.tick("FileDone")),
                    times_added(machine.tick("ErrRead")),
                    mux.published["updates"],
                    machine.queue_tick,
                    seconds,
                )
            reports = await followers.reports(REPORT_TIMEOUT)
            return judge(published, reports, tuple(trouble))
    finally:
        machine.dispose()
        await machine.when_disposed()


async def _walk(
    options: Options, machine: Machine, followers: Followers, pace: Pace
) -> tuple[list[str], float]:
    """Walk once all followers are ready, until they are level again: troubles, seconds."""
    trouble: list[str] = []
    started = time.monotonic()
    if await _all_ready(machine, followers):
        started = time.monotonic()
        machine.add("Walking")
        try:
            async with asyncio.timeout(options.seconds):
                await machine.when("Done")
        except TimeoutError:
            machine.add("Done")
    else:
        ready = times_added(machine.tick("FollowerReady"))
        trouble.append(f"only {ready} of {options.subscribers} followers became ready")
    if machine.tick("ErrStalled"):
        trouble.append(str(machine.err()))
    try:
        await pace.level(LEVEL_TIMEOUT)
    except TimeoutError as error:
        trouble.append(str(error))
    return trouble, time.monotonic() - started


async def _all_ready(machine: Machine, followers: Followers) -> bool:
    """Wait until every follower has announced itself; not when one exits, or time is up."""
    count = len(followers.names)
    # From its very first tick, as a quick follower may have been there already.
    all_ready = machine.when_time({"FollowerReady": ticks_of(count)})
    await first_of(all_ready, followers.one_ended.wait(), timeout=READY_TIMEOUT)
    return times_added(machine.tick("FollowerReady")) >= count
