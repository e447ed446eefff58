"""A client beats with the feed, and without it if it has to."""

from __future__ import annotations

import asyncio

from amzmq.rpc.client.pulse import LATE, Pulse
from tests.rpc.virtual_time import in_virtual_time


async def beats_of(pulse: Pulse, count: int) -> list[float]:
    """The times at which a pulse beats."""
    loop = asyncio.get_running_loop()
    start, times = loop.time(), []
    for _ in range(count):
        await pulse.beat(1.0)
        times.append(round(loop.time() - start, 6))
    return times


@in_virtual_time
async def test_a_client_beats_when_the_feed_does() -> None:
    pulse, loop = Pulse(), asyncio.get_running_loop()
    for at in (0.7, 1.7, 2.9):
        loop.call_later(at, pulse.felt)
    assert await beats_of(pulse, 3) == [0.7, 1.7, 2.9]


@in_virtual_time
async def test_a_feed_that_is_late_is_not_waited_for() -> None:
    assert await beats_of(Pulse(), 2) == [LATE, 2 * LATE]


@in_virtual_time
async def test_several_machines_that_beat_at_nearly_the_same_time_are_one_beat() -> None:
    pulse, loop = Pulse(), asyncio.get_running_loop()
    for at in (0.9, 0.95, 1.2, 1.9, 1.95):
        loop.call_later(at, pulse.felt)
    assert await beats_of(pulse, 2) == [0.9, 1.9]


@in_virtual_time
async def test_a_beat_that_comes_while_nobody_waits_is_no_trouble() -> None:
    pulse = Pulse()
    pulse.felt()
    assert await beats_of(pulse, 1) == [LATE]


@in_virtual_time
async def test_who_stops_waiting_leaves_nothing_behind() -> None:
    pulse = Pulse()
    waiting = asyncio.create_task(pulse.beat(1.0))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    pulse.felt()
    assert await beats_of(pulse, 1) == [LATE]


@in_virtual_time
async def test_each_beat_is_answered_until_the_source_wants_fewer_answers() -> None:
    pulse = Pulse()
    assert [pulse.is_due() for _ in range(3)] == [True] * 3
    pulse.asked(4)
    due = [pulse.is_due() for _ in range(400)]
    first = due.index(True)
    assert first < 4
    assert due[first::4] == [True] * len(due[first::4])
    assert sum(due) == 100
    pulse.asked(1)
    assert [pulse.is_due() for _ in range(3)] == [True] * 3


@in_virtual_time
async def test_many_clients_that_are_told_at_once_answer_at_different_times() -> None:
    pulses = [Pulse() for _ in range(200)]
    for pulse in pulses:
        pulse.asked(10)
    answers = [sum(pulse.is_due() for pulse in pulses) for _ in range(10)]
    assert sum(answers) == 200
    assert max(answers) < 60


@in_virtual_time
async def test_a_source_that_says_nonsense_is_answered_each_time() -> None:
    pulse = Pulse()
    pulse.asked(0)
    assert pulse.every == 1
