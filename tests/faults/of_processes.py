"""Faults of the processes: killed, frozen, blocked, out of something."""

from __future__ import annotations

import asyncio

from tests.faults.lab import CALLERS, READERS, Lab
from tests.faults.process import Ended, Program
from tests.faults.registry import fault


async def _frozen(program: Program, seconds: float) -> None:
    program.freeze()
    await asyncio.sleep(seconds)
    program.thaw()


@fault("source: kill -9, another one in its place", "connects", quick=True)
async def source_killed(lab: Lab) -> None:
    await lab.source.kill()
    await lab.restart_source()


@fault("source: kill -9 in a burst of payloads", "connects")
async def source_killed_in_a_burst(lab: Lab) -> None:
    burst = asyncio.ensure_future(lab.source.ask("burst", 5000, 500))
    await asyncio.sleep(0.05)
    await lab.source.kill()
    await asyncio.wait([burst])
    if not isinstance(burst.exception(), Ended):
        raise AssertionError("the burst was over before the source was killed")
    await lab.restart_source()


@fault("source: kill -9, away for 3 s", "connects")
async def source_away(lab: Lab) -> None:
    await lab.source.kill()
    await asyncio.sleep(3)
    await lab.restart_source()


@fault("source: stopped in good order, another one in its place", "connects")
async def source_restarted(lab: Lab) -> None:
    await lab.source.stop()
    await lab.restart_source()


@fault("source: the Mux stops and serves the same machine again", "connects", quick=True)
async def source_served_again(lab: Lab) -> None:
    await lab.source.ask("again")


@fault("source: five restarts, half a second apart", "connects")
async def source_flaps(lab: Lab) -> None:
    for _ in range(5):
        await lab.source.kill()
        await lab.restart_source()
        await asyncio.sleep(0.5)


@fault("source: another one with more states, in another order", "connects")
async def schema_changed_across_a_restart(lab: Lab) -> None:
    await lab.source.kill()
    await lab.restart_source(extra=("New1", "New2"))


@fault("source: its schema grows while it is followed", quick=True)
async def schema_grows(lab: Lab) -> None:
    for at in range(5):
        await lab.source.ask("grow", f"Grown{at}")
        await asyncio.sleep(0.05)


@fault("source: frozen for 0.3 s (SIGSTOP)")
async def source_frozen_briefly(lab: Lab) -> None:
    await _frozen(lab.source, 0.3)


@fault("source: frozen for 4 s (SIGSTOP)", "errors", "connects", "calls_retried")
async def source_frozen(lab: Lab) -> None:
    await _frozen(lab.source, 4)


@fault("source: its event loop blocked for 5 s", "errors", "connects", "calls_retried")
async def source_blocked(lab: Lab) -> None:
    await lab.source.ask("block", 5)


@fault("source: handlers raise")
async def handlers_raise(lab: Lab) -> None:
    if not await lab.source.ask("raise_in_handlers", 20):
        raise AssertionError("no handler was called")


@fault("source: user code forks")
async def source_forks(lab: Lab) -> None:
    for _ in range(3):
        if await lab.source.ask("fork") != 0:
            raise AssertionError("the child failed")


@fault("source: no descriptor left while all come back", "connects")
async def source_without_descriptors(lab: Lab) -> None:
    await lab.source.ask("limit_descriptors", 0)
    lab.talk.reset()
    lab.feed.reset()
    await asyncio.sleep(1.5)
    await lab.source.ask("limit_descriptors", None)


@fault("source: 64 MB of memory left during a burst")
async def source_short_of_memory(lab: Lab) -> None:
    await lab.source.ask("limit_memory", 64)
    await lab.source.ask("burst", 5000, 500)
    await lab.source.ask("limit_memory", None)


@fault("followers: kill -9, others in their place", "expired", "undelivered", "hellos")
async def followers_killed(lab: Lab) -> None:
    await lab.replace("readers", {f"{name}b": view for name, view in READERS.items()})


@fault("followers: back with other views", "hellos")
async def followers_with_other_views(lab: Lab) -> None:
    await lab.replace("readers", {"f3": "shallow", "f4": "each"})


@fault("followers: frozen for 4 s (SIGSTOP)", "expired", "errors", "connects", "gaps")
async def followers_frozen(lab: Lab) -> None:
    await _frozen(lab.readers, 4)


@fault("followers: their event loop blocked for 5 s", "expired", "errors", "connects", "gaps")
async def followers_blocked(lab: Lab) -> None:
    await lab.readers.ask("block", 5)


@fault("followers: 20 come and go", "hellos")
async def followers_come_and_go(lab: Lab) -> None:
    await lab.readers.ask("come_and_go", 20)


@fault("caller: kill -9, another one in its place", "hellos")
async def caller_killed(lab: Lab) -> None:
    await lab.replace("caller", {f"{name}b": view for name, view in CALLERS.items()})
    await lab.caller.ask("start_calls")


@fault("caller: 1,000 calls, all cancelled", quick=True)
async def cancel_storm(lab: Lab) -> None:
    await lab.caller.ask("cancel_storm", 1000)
