"""Faults of the network: black holes, delays, resets, too little of it."""

from __future__ import annotations

import asyncio
import random

from amzmq.net.traffic import Direction, TrafficMeter
from tests.faults.flipper import flipping
from tests.faults.lab import Lab
from tests.faults.registry import fault

LOST = ("errors", "connects", "calls_retried", "expired")


async def _black_hole(direction: Direction, seconds: float, *meters: TrafficMeter) -> None:
    for meter in meters:
        meter.pause(direction)
    await asyncio.sleep(seconds)
    for meter in meters:
        meter.resume(direction)


@fault("both ways: a black hole for 3 s", *LOST)
async def black_hole(lab: Lab) -> None:
    await _black_hole(Direction.BOTH, 3, lab.talk, lab.feed)


@fault("both ways: a black hole for 0.4 s", quick=True)
async def black_hole_briefly(lab: Lab) -> None:
    await _black_hole(Direction.BOTH, 0.4, lab.talk, lab.feed)


@fault("conversations: a black hole to the source for 3 s", *LOST)
async def black_hole_to_the_source(lab: Lab) -> None:
    await _black_hole(Direction.SENT, 3, lab.talk)


@fault("conversations: a black hole from the source for 3 s", *LOST)
async def black_hole_from_the_source(lab: Lab) -> None:
    await _black_hole(Direction.RECEIVED, 3, lab.talk)


@fault("feed: a black hole for 3 s", "gaps", *LOST)
async def black_hole_of_the_feed(lab: Lab) -> None:
    await _black_hole(Direction.BOTH, 3, lab.feed)


@fault("both ways: 100 ms late for 2 s")
async def delay(lab: Lab) -> None:
    lab.talk.delay = lab.feed.delay = 0.1
    await asyncio.sleep(2)
    lab.talk.delay = lab.feed.delay = 0.0


@fault("both ways: 0 to 150 ms late, changing, for 2 s")
async def jitter(lab: Lab) -> None:
    rng = random.Random(1)
    for _ in range(40):
        lab.talk.delay, lab.feed.delay = rng.uniform(0, 0.15), rng.uniform(0, 0.15)
        await asyncio.sleep(0.05)
    lab.talk.delay = lab.feed.delay = 0.0


@fault("both ways: 8 kB/s for 3 s")
async def bandwidth(lab: Lab) -> None:
    lab.talk.bandwidth = lab.feed.bandwidth = 8000
    await asyncio.sleep(3)
    lab.talk.bandwidth = lab.feed.bandwidth = 0


@fault("both ways: all connections reset (RST)", "connects", quick=True)
async def reset(lab: Lab) -> None:
    lab.talk.reset()
    lab.feed.reset()


@fault("feed: all connections reset (RST)", "gaps", "connects", "resyncs", quick=True)
async def reset_of_the_feed(lab: Lab) -> None:
    lab.feed.pause()  # so that something is on its way, and lost
    await asyncio.sleep(0.3)
    lab.feed.reset()
    lab.feed.resume()


@fault("conversations: all connections reset (RST)", "connects")
async def reset_of_the_conversations(lab: Lab) -> None:
    lab.talk.reset()


@fault("both ways: reset in the middle of large frames", "connects")
async def reset_in_mid_frame(lab: Lab) -> None:
    lab.talk.bandwidth = lab.feed.bandwidth = 400_000
    await lab.source.ask("burst", 20, 100_000)
    await asyncio.sleep(0.3)
    lab.talk.reset()
    lab.feed.reset()
    lab.talk.bandwidth = lab.feed.bandwidth = 0


@fault("both ways: cut by FIN in the middle of large frames", "connects")
async def cut_in_mid_frame(lab: Lab) -> None:
    lab.talk.bandwidth = lab.feed.bandwidth = 400_000
    await lab.source.ask("burst", 20, 100_000)
    await asyncio.sleep(0.3)
    lab.talk.cut()
    lab.feed.cut()
    lab.talk.bandwidth = lab.feed.bandwidth = 0


@fault("both ways: 20 resets, 0.1 s apart", "connects")
async def resets_without_end(lab: Lab) -> None:
    for _ in range(20):
        lab.talk.reset()
        lab.feed.reset()
        await asyncio.sleep(0.1)


@fault("both ways: nobody gets in for 2 s", "errors", "connects")
async def door_shut(lab: Lab) -> None:
    lab.talk.refusing = lab.feed.refusing = True
    lab.talk.reset()
    lab.feed.reset()
    await asyncio.sleep(2)
    lab.talk.refusing = lab.feed.refusing = False


@fault("feed: nobody gets in for 2 s", "errors", "connects", "gaps")
async def feed_shut(lab: Lab) -> None:
    lab.feed.refusing = True
    lab.feed.reset()
    await asyncio.sleep(2)
    lab.feed.refusing = False


@fault("both ways: bits flip for 2 s, under CURVE", "errors", "connects", secured=True)
async def bit_flips(lab: Lab) -> None:
    with flipping(share=0.02):
        await asyncio.sleep(2)


_NARROW = {"send_hwm": 100, "receive_hwm": 100, "send_buffer_bytes": 8192}


@fault(
    "feed: slow readers, a burst beyond the high-water mark",
    "gaps", "connects",
    sockets=_NARROW,
)  # fmt: skip
async def slow_readers(lab: Lab) -> None:
    lab.feed.bandwidth = 50_000
    await lab.source.ask("burst", 3000, 1000)
    await asyncio.sleep(2)
    lab.feed.bandwidth = 0


@fault("source: 20,000 payloads in one go", sockets={"send_hwm": 1000})
async def burst_beyond_the_mark(lab: Lab) -> None:
    await lab.source.ask("burst", 20_000, 50)


@fault(
    "feed: more is missed than the journal holds",
    "snapshots",
    sockets=_NARROW,
    journal=50,
)
async def journal_too_short(lab: Lab) -> None:
    lab.feed.pause()
    await lab.source.ask("burst", 6000, 1000)
    await asyncio.sleep(0.2)
    lab.feed.resume()
